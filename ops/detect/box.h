#pragma once

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

// Boxes are (..., 4): x1, y1, x2, y2 unless the name says otherwise, f32 or f64. Everything here is
// differentiable to any order except where the boxes have kinks (touching edges) and in the factor
// alpha of the complete IoU, which counts as a constant. ShapeError unless the last axis is 4,
// DTypeError for mixed dtypes. Widths and heights are x2 - x1 and y2 - y1, without + 1.

/// (x2 - x1) * (y2 - y1): (...).
Tensor box_area(const Tensor& boxes);

// Overlap of every box of a (A, 4) with every box of b (B, 4): (A, B). The arithmetic is
// torchvision's: boxes without area give NaN (0 / 0) in the plain IoU.

/// Intersection over union. One fused pass; derivatives run a composite of public operators.
Tensor box_iou(const Tensor& a, const Tensor& b);
/// IoU - (hull - union) / hull, hull being the smallest box around both. arXiv 1902.09630.
Tensor generalized_box_iou(const Tensor& a, const Tensor& b);
/// IoU - d^2 / (c^2 + eps), d between the centres, c the hull's diagonal. arXiv 1911.08287.
Tensor distance_box_iou(const Tensor& a, const Tensor& b, double eps = 1e-7);
/// Distance IoU - alpha v, v = 4 / pi^2 (atan(wa / ha) - atan(wb / hb))^2 and alpha = v / (1 - IoU
/// + v + eps), without gradient through alpha. arXiv 1911.08287.
Tensor complete_box_iou(const Tensor& a, const Tensor& b, double eps = 1e-7);

// The same for box i of a with box i of b; both (..., 4), broadcasting: (...).
Tensor paired_box_iou(const Tensor& a, const Tensor& b);
Tensor paired_generalized_box_iou(const Tensor& a, const Tensor& b);
Tensor paired_distance_box_iou(const Tensor& a, const Tensor& b, double eps = 1e-7);
Tensor paired_complete_box_iou(const Tensor& a, const Tensor& b, double eps = 1e-7);

/// Clamps x to [0, width] and y to [0, height].
Tensor clip_boxes(const Tensor& boxes, double height, double width);

/// Centre and size (cx, cy, w, h) to corners, and back.
Tensor cxcywh_to_xyxy(const Tensor& boxes);
Tensor xyxy_to_cxcywh(const Tensor& boxes);
/// Corner and size (x1, y1, w, h) to corners, and back.
Tensor xywh_to_xyxy(const Tensor& boxes);
Tensor xyxy_to_xywh(const Tensor& boxes);

namespace kernel {
/// Contiguous (A, 4) and (B, 4) to (A, B).
extern KernelSlot<void(const Tensor& a, const Tensor& b, Tensor& y)> box_iou;
}  // namespace kernel

}  // namespace tessera

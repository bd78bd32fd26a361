#pragma once

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

/// Greedy non-maximum suppression: goes through the boxes in descending order of score (equal
/// scores: lower index first; NaN first) and drops every later box whose IoU with a kept one is
/// greater than iou_threshold.
///   boxes  (N, 4)  f32 or f64: x1, y1, x2, y2     scores  (N)  same dtype
///   returns  i64 (kept): indices of the kept boxes in descending order of score. No gradient.
/// IoU is computed in the boxes' dtype, without eps. Throws ShapeError, DTypeError.
/// Cost: O(kept * N).
Tensor nms(const Tensor& boxes, const Tensor& scores, double iou_threshold);

/// The same with suppression only between boxes of one class: classes (N), i64. Class ids are
/// compared, coordinates are not shifted, so the result equals one nms per class, sorted by score,
/// for any coordinates. Cost: O(kept * N) within each class.
Tensor batched_nms(const Tensor& boxes, const Tensor& scores, const Tensor& classes,
                   double iou_threshold);

namespace kernel {
/// order: i64, the boxes by descending score. classes may be undefined. Returns the kept indices in
/// that order.
extern KernelSlot<Tensor(const Tensor& boxes, const Tensor& order, const Tensor& classes,
                         double iou_threshold)>
    nms;
}  // namespace kernel

}  // namespace tessera

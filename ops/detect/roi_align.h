#pragma once

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

struct RoiAlignOptions {
  int64_t output_h = 7, output_w = 7;
  /// Feature pixels per image pixel.
  double spatial_scale = 1.0;
  /// Samples per bin and axis; 0 or less: ceil(roi side / output side), per box.
  int64_t sampling_ratio = 0;
  /// Shift by half a pixel, so that pixel centres line up (a later correction, not in the paper).
  /// Without it boxes are also at least one feature pixel wide and high.
  bool aligned = true;
};

/// RoI Align: bilinear samples averaged inside each bin; torchvision's arithmetic.
///   feature  (N, H, W, C)  f32 or f64
///   rois     (R, 5)        same dtype: batch index, x1, y1, x2, y2 in image pixels
///   returns  (R, output_h, output_w, C)
/// Samples more than one pixel outside the feature map count as zero. Differentiable in feature,
/// any order (linear in it); not in rois. Deterministic. Throws ShapeError (ranks, R x 5, a feature
/// map without pixels), DTypeError, ValueError (batch index outside [0, N), coordinates that are
/// not finite or beyond 10^7 feature pixels, output size, spatial_scale <= 0). Cost: C reads per
/// distinct feature pixel of each bin. Source: Mask R-CNN, arXiv 1703.06870, section 3.
Tensor roi_align(const Tensor& feature, const Tensor& rois, const RoiAlignOptions& options = {});

/// The adjoint in feature: g (R, output_h, output_w, C) to (N, H, W, C) = feature_shape. Linear in
/// g; differentiable, any order.
Tensor roi_align_grad(const Tensor& g, const Tensor& rois, const Shape& feature_shape,
                      const RoiAlignOptions& options = {});

namespace kernel {
/// Contiguous operands; both check the batch indices and coordinates.
extern KernelSlot<void(const Tensor& feature, const Tensor& rois, const RoiAlignOptions&,
                       Tensor& y)>
    roi_align;
/// gx is zero on entry.
extern KernelSlot<void(const Tensor& g, const Tensor& rois, const RoiAlignOptions&, Tensor& gx)>
    roi_align_grad;
}  // namespace kernel

/// Shape and dtype rules shared by the operators that pool regions.
void check_rois(const Shape& feature, DType dtype, const Tensor& rois, int64_t output_h,
                int64_t output_w, double spatial_scale, std::string_view op);

}  // namespace tessera

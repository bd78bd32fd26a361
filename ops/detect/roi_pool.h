#pragma once

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

/// RoI pooling: the maximum of the feature pixels in each bin, box and bin edges rounded to whole
/// pixels as in torchvision.
///   feature  (N, H, W, C)  f32 or f64
///   rois     (R, 5)        same dtype: batch index, x1, y1, x2, y2 in image pixels
///   returns  (R, output_h, output_w, C); 0 for a bin without pixels, NaN where a pixel is NaN
/// Differentiable in feature, any order: the gradient goes to the first maximum; not in rois.
/// Throws as roi_align. Cost: one read of each pixel per bin that holds it. Source: Fast R-CNN,
/// arXiv 1504.08083, section 2.1.
Tensor roi_pool(const Tensor& feature, const Tensor& rois, int64_t output_h, int64_t output_w,
                double spatial_scale = 1.0);

namespace kernel {
/// argmax: i64 (R, output_h, output_w, C), positions among the N * H * W pixels; 0 for an empty
/// bin. filled: bool (R, output_h, output_w, 1), whether the bin holds pixels. Returns
/// whether some bin may be empty: the kernel of a device need not wait until it knows.
extern KernelSlot<bool(const Tensor& feature, const Tensor& rois, double spatial_scale,
                       Tensor& argmax, Tensor& filled)>
    roi_pool_argmax;
}  // namespace kernel

}  // namespace tessera

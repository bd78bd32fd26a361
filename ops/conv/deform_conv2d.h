#pragma once

#include "ops/size2.h"
#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

struct DeformConv2dOptions {
  Size2 stride = 1;
  Size2 padding = 0;
  Size2 dilation = 1;
  int64_t groups = 1;         ///< of the filters, as in conv2d
  int64_t deform_groups = 1;  ///< sets of offsets, each for C / deform_groups input channels
};

/// Deformable convolution: conv2d whose filter taps are moved by an offset per output pixel (v1)
/// and scaled by a mask (v2).
///
///   y[n, ho, wo, o] = bias[o] + sum_{kh, kw, i} w[o, kh, kw, i] * mask * x(n, h, v, c(o, i))
///   h = ho * stride.h - padding.h + kh * dilation.h + offset of h;  v alike
///
///   x       (N, H, W, C)
///   offset  (N, Ho, Wo, 2 * deform_groups * KH * KW)  pixels; channels in the order
///           (deform group, kh, kw, (h, w)), torchvision's
///   mask    (N, Ho, Wo, deform_groups * KH * KW) or undefined (all ones)
///   w       (O, KH, KW, C / groups)       bias  (O) or undefined
///   returns (N, Ho, Wo, O)
///
/// x between pixels is bilinear, 0 outside the image: a position contributes where
/// -1 < h < H and -1 < v < W, and its neighbours outside the image count as 0.
/// f32 or f64. Differentiable in all five, any order: from the second on the gradients in x, offset
/// and mask run a composite of gathers, which takes a multiple of the samples' space. Where the
/// interpolation has kinks (whole pixels) one side's derivative is returned.
/// Throws ShapeError, ValueError (options), DTypeError.
/// Cost: conv2d plus 8 * N * Ho * Wo * KH * KW * C for the samples, which take
/// Ho * Wo * KH * KW * C elements of scratch space in forward and N times that in backward.
/// Source: Dai et al., arXiv 1703.06211; Zhu et al., arXiv 1811.11168 (the mask).
Tensor deform_conv2d(const Tensor& x, const Tensor& offset, const Tensor& mask, const Tensor& w,
                     const Tensor& bias = {}, const DeformConv2dOptions& options = {});

/// The sampled input that deform_conv2d multiplies by its filters:
/// (N, Ho, Wo, groups * KH * KW * C / groups), channels in the order (group, kh, kw, i).
/// `kernel` is (KH, KW). Differentiable in x, offset and mask, any order.
Tensor deform_columns(const Tensor& x, const Tensor& offset, const Tensor& mask, Size2 kernel,
                      const DeformConv2dOptions& options = {});

namespace kernel {
/// Contiguous tensors, checked; mask may be undefined.
extern KernelSlot<void(const Tensor& x, const Tensor& offset, const Tensor& mask, Size2 kernel,
                       const DeformConv2dOptions& options, Tensor& columns)>
    deform_columns;
/// Gradients of deform_columns; gmask is undefined where mask is. Overwrites its outputs, of which
/// gx, and goffset with gmask, may be undefined where they are not wanted.
extern KernelSlot<void(const Tensor& g, const Tensor& x, const Tensor& offset, const Tensor& mask,
                       Size2 kernel, const DeformConv2dOptions& options, Tensor& gx,
                       Tensor& goffset, Tensor& gmask)>
    deform_columns_grad;
}  // namespace kernel

}  // namespace tessera

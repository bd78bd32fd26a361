#pragma once

#include "ops/pointwise/activation.h"
#include "ops/size2.h"
#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

/// Convolution as three operators that differentiate into each other:
///
///   y  = conv2d(x, w)              x  (N, H, W, C)    images, channels last
///   gx = conv2d_input_grad(y, w)   w  (O, KH, KW, C / groups)
///   gw = conv2d_weight_grad(y, x)  y  (N, Ho, Wo, O)
///
/// each linear in both arguments and each the other two's backward, so every order is exact.
///
///   y[n, ho, wo, o] = bias[o] + sum_{kh, kw, i} w[o, kh, kw, i]
///                     * x[n, ho * stride.h - padding.h + kh * dilation.h,
///                            wo * stride.w - padding.w + kw * dilation.w, c(o, i)]
///   c(o, i) = o / (O / groups) * (C / groups) + i,   x = 0 outside the image
///   Ho = (H + 2 padding.h - dilation.h (KH - 1) - 1) / stride.h + 1, rounded down; Wo alike
///
/// The sum is a cross-correlation, as in every framework. Weight files made by torch hold
/// (O, C / groups, KH, KW): move axis 1 to the end.
namespace tessera {

struct Conv2dOptions {
  Size2 stride = 1;    ///< >= 1
  Size2 padding = 0;   ///< zeros added on each side, >= 0
  Size2 dilation = 1;  ///< distance between filter taps, >= 1
  int64_t groups = 1;  ///< divides C and O; groups == C is a depthwise convolution
};

/// `bias` is (O) or undefined. Floating dtypes, all alike; f16 and bf16 are computed in f32.
/// Any of the sizes N, O, C may be 0. Differentiable in x, w and bias, any order.
/// Throws ShapeError (ranks, channels that do not fit groups, bias, filter larger than the padded
/// image; all shapes are named), ValueError (options out of range), DTypeError.
/// Cost: 2 * N * Ho * Wo * O * KH * KW * C / groups operations.
Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& bias = {},
              const Conv2dOptions& options = {});

/// Gradient of conv2d in x: g is (N, Ho, Wo, O), the result has `input_shape` (N, H, W, C).
/// Differentiable in g and w, any order. Throws as conv2d, with g's shape checked against Ho, Wo.
Tensor conv2d_input_grad(const Tensor& g, const Tensor& w, const Shape& input_shape,
                         const Conv2dOptions& options = {});

/// Gradient of conv2d in w: the result has `weight_shape` (O, KH, KW, C / groups). Differentiable
/// in g and x, any order. Throws as conv2d_input_grad. f32 results may differ in the last bits
/// between thread counts.
Tensor conv2d_weight_grad(const Tensor& g, const Tensor& x, const Shape& weight_shape,
                          const Conv2dOptions& options = {});

struct ConvTranspose2dOptions {
  Size2 stride = 1;
  Size2 padding = 0;         ///< of the convolution this is the adjoint of: shrinks the output
  Size2 output_padding = 0;  ///< rows and columns added at the end; < stride
  Size2 dilation = 1;
  int64_t groups = 1;
};

/// The adjoint of a convolution as a layer of its own: x (N, H, W, I) to
/// (N, (H - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1, ..., O).
/// w is the filter of that convolution in OHWI, here (I, KH, KW, O / groups): the same move of axis
/// 1 to the end converts torch's (I, O / groups, KH, KW). `bias` is (O) or undefined.
/// Differentiable in x, w and bias, any order. Throws ShapeError, ValueError, DTypeError.
Tensor conv_transpose2d(const Tensor& x, const Tensor& w, const Tensor& bias = {},
                        const ConvTranspose2dOptions& options = {});

/// What a convolution kernel does to its result before it is written, in this order.
struct ConvEpilogue {
  Tensor bias{};      ///< (O) or undefined: added
  Tensor residual{};  ///< of the output's shape or undefined: added
  /// Applied last. Unlike the operators, oneDNN's f32 kernels (neither 1 x 1 filters nor
  /// Winograd's) turn NaN into 0 here.
  Activation activation = Activation::none;
  /// The filters will be used again as they are: transforming them may cost more.
  bool weights_stay = false;
};

template <class F>
void visit_tensors(const ConvEpilogue& epilogue, F&& f) {
  visit_tensors(epilogue.bias, f);
  visit_tensors(epilogue.residual, f);
}

/// conv2d with its epilogue in one pass over the output, for inference: throws Error when a
/// gradient would have to be recorded. In f32 on the CPU a relu may make 0 of NaN. Shapes,
/// options and further errors as conv2d; residual must have the output's shape (ShapeError).
Tensor conv2d_fused(const Tensor& x, const Tensor& w, const ConvEpilogue& epilogue,
                    const Conv2dOptions& options = {});

namespace kernel {
/// All tensors are contiguous, of one dtype and checked; the output is overwritten.
extern KernelSlot<void(const Tensor& x, const Tensor& w, const ConvEpilogue& epilogue,
                       const Conv2dOptions& options, Tensor& y)>
    conv2d;
extern KernelSlot<void(const Tensor& g, const Tensor& w, const Conv2dOptions& options, Tensor& gx)>
    conv2d_input_grad;
extern KernelSlot<void(const Tensor& g, const Tensor& x, const Conv2dOptions& options, Tensor& gw)>
    conv2d_weight_grad;
}  // namespace kernel

}  // namespace tessera

#pragma once

#include <optional>

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

/// relu, lrelu and swish have gain sqrt(2) unless another is given, the others 1.
enum class Act : uint8_t { linear, relu, lrelu, tanh, sigmoid, elu, selu, softplus, swish };
double default_gain(Act act);

struct BiasActOptions {
  Act act = Act::linear;
  std::optional<double> alpha{};  ///< slope of lrelu below 0, >= 0; 0.2 unless given
  std::optional<double> gain{};   ///< not 0
  std::optional<double> clamp{};  ///< >= 0
  int64_t axis = -1;              ///< of x, which the bias lies along
};

/// y = clamp(gain * act(x + bias), -clamp, clamp) in one pass over x: the end of every layer of
/// StyleGAN2. x has any shape and a floating dtype, bias is (x.size(axis)) of x's dtype or
/// undefined. Half types are computed in f32. NaN passes through, the clamp too.
///
/// Differentiable to any order. The gradient keeps y alone, or x and bias for swish, nothing for
/// linear. Where the clamp cuts (|gain * act| >= clamp) it is zero. But for Act::linear it is not:
/// there it ignores the clamp, as StyleGAN2's own CUDA operator does, on which its training rests.
///
/// Throws ShapeError (bias), ValueError (axis, options), DTypeError. Bytes: x and y once; the
/// gradient: g, y and gx once.
/// Source: the operator of StyleGAN2-ADA, arXiv 2006.06676.
Tensor bias_act(const Tensor& x, const Tensor& bias = {}, const BiasActOptions& options = {});

/// What the kernels are given. order: of the derivative, for bias_act_grad.
struct BiasActArgs {
  Act act = Act::linear;
  double alpha = 0.2, gain = 1, clamp = 0;
  bool clamped = false;
  int order = 0;
};

namespace kernel {
/// x has any strides, bias is undefined or broadcasts to x, y is contiguous and may be x itself.
extern KernelSlot<void(const Tensor& x, const Tensor& bias, const BiasActArgs& args, Tensor& y)>
    bias_act;
/// gx = g * D(saved) with D(y) the (order - 1)th derivative of dy/dx by y, where dy/dx is written
/// as a function of y. For swish saved is x and D the order-th derivative (1 or 2) of y by x at x +
/// bias; otherwise bias is undefined. g and saved have gx's shape and any strides, gx is
/// contiguous.
extern KernelSlot<void(const Tensor& g, const Tensor& saved, const Tensor& bias,
                       const BiasActArgs& args, Tensor& gx)>
    bias_act_grad;
}  // namespace kernel

}  // namespace tessera

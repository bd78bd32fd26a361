#pragma once

#include "ops/pointwise/pointwise_slots.h"

namespace tessera {

/// Saturating functions of floating tensors (DTypeError otherwise), differentiable to any order.
/// tanh and sigmoid keep only their output.
Tensor tanh(const Tensor& x);
/// 1 / (1 + e^-x).
Tensor sigmoid(const Tensor& x);
/// log(sigmoid(x)) without overflow.
Tensor log_sigmoid(const Tensor& x);
/// log(1 + e^(beta x)) / beta, and x itself where beta * x > threshold. Throws ValueError for beta
/// <= 0.
Tensor softplus(const Tensor& x, double beta = 1.0, double threshold = 20.0);
/// Halves one axis into a and b and returns a * sigmoid(b). Throws ShapeError when the axis is odd.
Tensor glu(const Tensor& x, int64_t axis = -1);

namespace kernel {
extern PointwiseSlot tanh, sigmoid, log_sigmoid, softplus;
extern PointwiseGradSlot tanh_grad, sigmoid_grad, log_sigmoid_grad, softplus_grad;
}  // namespace kernel

}  // namespace tessera

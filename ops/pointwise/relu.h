#pragma once

#include "ops/pointwise/pointwise_slots.h"

namespace tessera {

/// Rectifiers of floating tensors (DTypeError otherwise), differentiable to any order.
///
/// max(x, 0); gradient 0 at 0. Keeps only its output.
Tensor relu(const Tensor& x);
/// min(max(x, 0), 6); gradient 0 at 0 and at 6.
Tensor relu6(const Tensor& x);
/// min(max(x, low), high); gradient 0 on the bounds. Throws ValueError when low > high.
Tensor hardtanh(const Tensor& x, double low = -1.0, double high = 1.0);
/// x above 0, slope * x elsewhere.
Tensor leaky_relu(const Tensor& x, double slope = 0.01);
/// x above 0, alpha (e^x - 1) elsewhere.
Tensor elu(const Tensor& x, double alpha = 1.0);
/// x above 0, weight * x elsewhere. weight: one element, or one per channel, shape (C), where C is
/// x's last axis. Differentiable in both. Throws ShapeError for any other weight.
Tensor prelu(const Tensor& x, const Tensor& weight);

namespace kernel {
extern PointwiseSlot relu, leaky_relu, hardtanh, elu;
extern PointwiseGradSlot relu_grad, leaky_relu_grad, hardtanh_grad, elu_grad;
/// weight broadcasts to x; y has x's shape.
extern KernelSlot<void(const Tensor& x, const Tensor& weight, Tensor& y)> prelu;
}  // namespace kernel

}  // namespace tessera

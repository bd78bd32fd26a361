#pragma once

#include "ops/pointwise/pointwise_slots.h"

namespace tessera {

/// Smooth gates of floating tensors (DTypeError otherwise) and their piecewise forms,
/// differentiable to any order.
///
/// x sigmoid(x). Source: arXiv 1702.03118.
Tensor silu(const Tensor& x);
/// x tanh(softplus(x)). Source: arXiv 1908.08681.
Tensor mish(const Tensor& x);
/// x relu6(x + 3) / 6 and relu6(x + 3) / 6. Source: arXiv 1905.02244.
Tensor hardswish(const Tensor& x);
Tensor hardsigmoid(const Tensor& x);

namespace kernel {
extern PointwiseSlot silu, mish, hardswish, hardsigmoid;
extern PointwiseGradSlot silu_grad, mish_grad, hardswish_grad, hardsigmoid_grad;
}  // namespace kernel

}  // namespace tessera

#pragma once

#include "ops/pointwise/pointwise_slots.h"

namespace tessera {

/// min(max(x, low), high) of a floating tensor; gradient 1 inside and on the bounds, 0 outside. NaN
/// stays. Differentiable to any order. Throws ValueError when low > high, DTypeError.
Tensor clamp(const Tensor& x, double low, double high);
Tensor clamp_min(const Tensor& x, double low);
Tensor clamp_max(const Tensor& x, double high);

/// The smaller / larger of two tensors that broadcast; one dtype (floating or integer). NaN wins.
/// Where they are equal, each gets half of the gradient. Differentiable to any order.
Tensor minimum(const Tensor& a, const Tensor& b);
Tensor maximum(const Tensor& a, const Tensor& b);

namespace kernel {
extern PointwiseSlot clamp;
extern PointwiseGradSlot clamp_grad;
/// a and b broadcast to y.
extern KernelSlot<void(const Tensor&a, const Tensor&b, Tensor&y)> minimum, maximum;
/// y = 1 where a > b, 1/2 where equal, 0 elsewhere (floating).
extern KernelSlot<void(const Tensor& a, const Tensor& b, Tensor& y)> share_of_larger;
}  // namespace kernel

}  // namespace tessera

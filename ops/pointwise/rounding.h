#pragma once

#include "ops/pointwise/pointwise_slots.h"

namespace tessera {

/// |x| of a floating tensor (DTypeError otherwise); gradient 0 at 0. Differentiable to any order.
Tensor abs(const Tensor& x);
/// -1, 0 or 1 (NaN stays), rounding down, up, and to the nearest with halves to even. Floating
/// tensors; the gradient is zero.
Tensor sign(const Tensor& x);
Tensor floor(const Tensor& x);
Tensor ceil(const Tensor& x);
Tensor round(const Tensor& x);

namespace kernel {
extern PointwiseSlot abs, sign, floor, ceil, round;
extern PointwiseGradSlot abs_grad;
}  // namespace kernel

}  // namespace tessera

#pragma once

#include "ops/pointwise/pointwise_slots.h"

namespace tessera {

/// Exponentials and natural logarithms of floating tensors (DTypeError otherwise). Float error at
/// most 1.6 ulp, see ops/pointwise/elementary.h. Differentiable to any order; exp and expm1 keep
/// only their output.
Tensor exp(const Tensor& x);
/// e^x - 1, accurate near 0.
Tensor expm1(const Tensor& x);
/// -inf at 0, NaN below.
Tensor log(const Tensor& x);
/// log(1 + x), accurate near 0.
Tensor log1p(const Tensor& x);

namespace kernel {
extern PointwiseSlot exp, expm1, log, log1p;
extern PointwiseGradSlot exp_grad, expm1_grad, log_grad, log1p_grad;
}  // namespace kernel

}  // namespace tessera

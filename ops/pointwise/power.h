#pragma once

#include "ops/pointwise/pointwise_slots.h"

namespace tessera {

/// Powers of floating tensors (DTypeError otherwise), differentiable to any order.
///
/// Square root (NaN below 0) and its reciprocal (inf at 0); they keep only their output.
Tensor sqrt(const Tensor& x);
Tensor rsqrt(const Tensor& x);
Tensor square(const Tensor& x);
/// x^exponent. Exponents 0, 1, 2, 3, 0.5, -0.5, -1, -2 are computed without pow().
Tensor pow(const Tensor& x, double exponent);
/// x^exponent with broadcasting; one dtype, ShapeError when the shapes do not broadcast. The
/// gradient of x is 0 where the exponent is 0; that of the exponent is 0 where x is 0 and the
/// exponent is not negative.
Tensor pow(const Tensor& x, const Tensor& exponent);

namespace kernel {
/// y = x^exponent for a scalar exponent.
extern KernelSlot<void(const Tensor& x, double exponent, Tensor& y)> pow_scalar;
/// x and exponent broadcast to y.
extern KernelSlot<void(const Tensor& x, const Tensor& exponent, Tensor& y)> pow;
extern PointwiseSlot sqrt, rsqrt, square;
extern PointwiseGradSlot sqrt_grad, rsqrt_grad, square_grad;
}  // namespace kernel

}  // namespace tessera

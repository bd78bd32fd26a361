#pragma once

#include "ops/pointwise/pointwise_slots.h"

namespace tessera {

/// Trigonometric functions of floating tensors (DTypeError otherwise), in radians. sin and cos hold
/// 1.6 ulp in float for every finite argument. Differentiable to any order; the derivatives of asin
/// and acos are infinite at -1 and 1.
Tensor sin(const Tensor& x);
Tensor cos(const Tensor& x);
Tensor asin(const Tensor& x);
Tensor acos(const Tensor& x);
Tensor atan(const Tensor& x);

namespace kernel {
extern PointwiseSlot sin, cos, asin, acos, atan;
extern PointwiseGradSlot sin_grad, cos_grad, asin_grad, acos_grad, atan_grad;
}  // namespace kernel

}  // namespace tessera

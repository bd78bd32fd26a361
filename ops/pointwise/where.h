#pragma once

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

/// a where `condition` is true, b elsewhere; the three broadcast. condition is bool, a and b have
/// one dtype (any). A NaN on the side that is not taken does not reach the result, but its
/// derivative may reach the gradient as 0 * inf: make that side harmless first. Differentiable to
/// any order. Throws DTypeError, DeviceError, ShapeError.
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);

/// a + weight * (b - a) with a scalar or a broadcast weight. Differentiable to any order.
Tensor lerp(const Tensor& a, const Tensor& b, double weight);
Tensor lerp(const Tensor& a, const Tensor& b, const Tensor& weight);

namespace kernel {
/// condition, a and b broadcast to y.
extern KernelSlot<void(const Tensor& condition, const Tensor& a, const Tensor& b, Tensor& y)> where;
}  // namespace kernel

}  // namespace tessera

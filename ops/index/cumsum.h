#pragma once

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

/// Running sums along an axis: y[i] = x[0] + ... + x[i], or x[i] + ... + x[n - 1] when `reverse`.
/// Same shape and dtype (not bool); f32 is accumulated in f64. Differentiable, any order: the
/// adjoint is the sum in the other direction. Throws ValueError (axis), DTypeError.
Tensor cumsum(const Tensor& x, int64_t axis, bool reverse = false);

namespace kernel {
extern KernelSlot<void(const Tensor& x, int axis, bool reverse, Tensor& y)> cumsum;
}  // namespace kernel

}  // namespace tessera

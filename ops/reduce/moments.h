#pragma once

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

// Reductions over `axes` (all when empty), which stay with size 1 under keepdim. Floating tensors
// only (DTypeError); accumulated in f64; the result does not depend on the number of threads.

/// Mean; NaN over no elements. Differentiable to any order.
Tensor mean(const Tensor& x, const Dims& axes = {}, bool keepdim = false);

/// Sum of squared distances from the mean over (count - 1), or over count when not unbiased. NaN
/// when the divisor is 0. Two passes over x. Differentiable to any order.
Tensor var(const Tensor& x, const Dims& axes = {}, bool unbiased = true, bool keepdim = false);
/// Square root of var; gradient 0 where it is 0. (Not `std`, which would hide the namespace.)
Tensor stddev(const Tensor& x, const Dims& axes = {}, bool unbiased = true, bool keepdim = false);

/// p-norm for p = 1, 2 or infinity; ValueError otherwise. Gradient 0 where the norm is 0. Squares
/// are accumulated in f64, so f32 does not overflow. Differentiable to any order.
Tensor norm(const Tensor& x, double p = 2.0, const Dims& axes = {}, bool keepdim = false);

namespace kernel {
/// y has x's rank; axes where y is 1 and x is not are reduced. divisor: count or count - 1.
extern KernelSlot<void(const Tensor& x, double divisor, Tensor& y)> var;
/// y = sqrt(sum x^2).
extern KernelSlot<void(const Tensor& x, Tensor& y)> norm2;
}  // namespace kernel

}  // namespace tessera

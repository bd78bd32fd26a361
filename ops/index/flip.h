#pragma once

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

/// Reverses the order along the given axes (each at most once, ValueError). Always a copy. Any
/// dtype. Differentiable, any order: its own adjoint.
Tensor flip(const Tensor& x, const Dims& axes);

namespace kernel {
/// reversed[i] is 1 for an axis to be reversed. y is contiguous.
extern KernelSlot<void(const Tensor& x, const Dims& reversed, Tensor& y)> flip;
}  // namespace kernel

}  // namespace tessera

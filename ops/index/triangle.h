#pragma once

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

/// The lower (column - row <= diagonal) or upper (column - row >= diagonal) triangle of the
/// matrices in the last two axes; the rest becomes zero. Any dtype. Differentiable, any order: its
/// own adjoint. Throws ShapeError for rank < 2.
Tensor tril(const Tensor& x, int64_t diagonal = 0);
Tensor triu(const Tensor& x, int64_t diagonal = 0);

namespace kernel {
/// Contiguous x and y.
extern KernelSlot<void(const Tensor& x, bool upper, int64_t diagonal, Tensor& y)> triangle;
}  // namespace kernel

}  // namespace tessera

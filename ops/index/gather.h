#pragma once

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

// Element-wise and row-wise addressing along one axis. `index` is i64, holds values in [0, size of
// that axis) and is never differentiated. Negative values are errors: ValueError names value and
// position. DTypeError for an index that is not i64.

/// y[i][j][k] = x[i][index[i][j][k]][k] for axis 1, and so on. index has x's rank and is at most as
/// large as x along the other axes (ShapeError); y has index's shape. Any dtype.
/// Differentiable in x, any order; the gradient sums where an element was read twice.
Tensor gather(const Tensor& x, int64_t axis, const Tensor& index);
/// x, with src[i][j][k] added to element [i][index[i][j][k]][k] (axis 1). src has index's shape and
/// x's dtype. The adjoint of gather: differentiable in x and src, any order. Deterministic: sums
/// run in the order of j. Any dtype but bool.
Tensor scatter_add(const Tensor& x, int64_t axis, const Tensor& index, const Tensor& src);
/// x, with those elements replaced by src's. Where an element is addressed twice the later j wins;
/// the gradient in src then counts both, so it is right for distinct indices only (torch's rule).
/// Differentiable in x and src, any order. Any dtype.
Tensor scatter(const Tensor& x, int64_t axis, const Tensor& index, const Tensor& src);

/// Slices of x along `axis` in the order of the rank-1 index. Any dtype. Differentiable, any order.
Tensor index_select(const Tensor& x, int64_t axis, const Tensor& index);
/// x, with slice j of src added to slice index[j]. Deterministic; differentiable in x and src, any
/// order. Any dtype but bool.
Tensor index_add(const Tensor& x, int64_t axis, const Tensor& index, const Tensor& src);
/// Rows of a table: x (rows, ...), index of any shape -> index.shape() + x.shape()[1:]. Embedding
/// look-up; differentiable in x, any order.
Tensor take_rows(const Tensor& x, const Tensor& index);

namespace kernel {
/// Contiguous operands; the kernels check the range of the index.
extern KernelSlot<void(const Tensor& x, int axis, const Tensor& index, Tensor& y)> gather;
/// gx += src at the addressed elements; gx holds the initial values.
extern KernelSlot<void(const Tensor& src, int axis, const Tensor& index, Tensor& gx)> scatter_add;
extern KernelSlot<void(const Tensor& src, int axis, const Tensor& index, Tensor& y)> scatter;
extern KernelSlot<void(const Tensor& x, int axis, const Tensor& index, Tensor& y)> index_select;
extern KernelSlot<void(const Tensor& src, int axis, const Tensor& index, Tensor& gx)> index_add;
}  // namespace kernel

}  // namespace tessera

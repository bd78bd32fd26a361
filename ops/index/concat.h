#pragma once

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

/// Joins tensors along an existing axis (negative counts from the end). At least one tensor; equal
/// ranks, dtypes and sizes except along `axis`. Any dtype.
/// Differentiable, any order: the gradient is split(). Throws ValueError (no tensor, axis),
/// ShapeError (sizes), DTypeError. Cost: one copy.
Tensor concat(const Tensors& xs, int64_t axis = 0);
/// Joins tensors of equal shape along a new axis, 0..rank. Errors as concat.
Tensor stack(const Tensors& xs, int64_t axis = 0);
/// Cuts an axis into pieces of the given sizes, which must add up to it (ShapeError). The pieces
/// are views. Differentiable, any order: the gradient is concat().
Tensors split(const Tensor& x, const std::vector<int64_t>& sizes, int64_t axis = 0);
/// At most `count` pieces of ceil(size / count) elements, the last one shorter (torch's rule). For
/// an empty axis: one empty piece. Throws ValueError for count < 1.
Tensors chunk(const Tensor& x, int64_t count, int64_t axis = 0);
/// Cyclic shift: element i moves to (i + shift) mod size along `axis`. Any dtype; any order.
Tensor roll(const Tensor& x, int64_t shift, int64_t axis);

namespace kernel {
/// y is contiguous and as long along `axis` as all xs together.
extern KernelSlot<void(const Tensors& xs, int axis, Tensor& y)> concat;
}  // namespace kernel

}  // namespace tessera

#pragma once

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

/// Largest / smallest element over `axes` (all when empty), which stay with size 1 under keepdim.
/// Any dtype but bool; NaN wins. The gradient is shared equally among ties. Differentiable to any
/// order. Throws ShapeError over no elements.
Tensor amax(const Tensor& x, const Dims& axes = {}, bool keepdim = false);
Tensor amin(const Tensor& x, const Dims& axes = {}, bool keepdim = false);

/// Index (i64) of the largest / smallest element along one axis; the first of equals, and the first
/// NaN before everything. No gradient. Throws ShapeError when the axis is empty.
Tensor argmax(const Tensor& x, int64_t axis, bool keepdim = false);
Tensor argmin(const Tensor& x, int64_t axis, bool keepdim = false);
/// The same over all elements, as an index into the row-major order: a scalar.
Tensor argmax(const Tensor& x);
Tensor argmin(const Tensor& x);

struct ValuesAndIndices {
  Tensor values, indices;
};
/// Value and index along one axis; the gradient goes to the chosen element. Differentiable to any
/// order.
ValuesAndIndices max_with_indices(const Tensor& x, int64_t axis, bool keepdim = false);
ValuesAndIndices min_with_indices(const Tensor& x, int64_t axis, bool keepdim = false);

namespace kernel {
/// y has x's rank; axes where y is 1 and x is not are reduced. x has elements.
extern KernelSlot<void(const Tensor&x, Tensor&y)> amax, amin;
/// values (as amax / amin gives) and the indices of their first occurrence along `axis`, which both
/// have with size 1.
extern KernelSlot<void(const Tensor& x, const Tensor& values, int axis, Tensor& indices)>
    find_first;
}  // namespace kernel

}  // namespace tessera

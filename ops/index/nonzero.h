#pragma once

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

// Results whose size depends on the values. Row-major order.

/// Coordinates of the elements that are not zero (NaN is not): i64 (count, rank). Any dtype.
Tensor nonzero(const Tensor& x);
/// Their positions in the flattened tensor: i64 (count).
Tensor nonzero_flat(const Tensor& x);
/// The elements of x where mask is true, as (count). mask is bool (DTypeError) and has x's shape
/// (ShapeError). Any dtype. Differentiable in x, any order.
Tensor masked_select(const Tensor& x, const Tensor& mask);

/// 1 where the position equals the index, 0 elsewhere: index.shape() + (classes). index is i64 in
/// [0, classes) (ValueError). No gradient.
Tensor one_hot(const Tensor& index, int64_t classes, DType dtype = DType::f32);

namespace kernel {
/// Returns the i64 positions of non-zero elements of a contiguous tensor.
extern KernelSlot<Tensor(const Tensor& x)> nonzero_flat;
/// coordinates, i64 (count, rank), of i64 positions (count) in a flattened tensor of `shape`; both
/// contiguous.
extern KernelSlot<void(const Tensor& positions, const Shape& shape, Tensor& coordinates)> unravel;
/// y is zero on entry, contiguous.
extern KernelSlot<void(const Tensor& index, int64_t classes, Tensor& y)> one_hot;
}  // namespace kernel

}  // namespace tessera

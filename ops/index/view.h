#pragma once

#include "tensor/tensor.h"

namespace tessera {

// Differentiable views: the result shares x's memory unless stated otherwise. Any order, any dtype.
// The raw functions of the same names in tensor/view.h state the rules and the errors.

/// One size may be -1. Copies where the strides do not allow a view.
Tensor reshape(const Tensor& x, const Shape& shape);
/// Merges axes first..last (inclusive, negative counts from the end) into one.
Tensor flatten(const Tensor& x, int64_t first = 0, int64_t last = -1);
Tensor permute(const Tensor& x, const Dims& axes);
Tensor transpose(const Tensor& x, int64_t a, int64_t b);
Tensor slice(const Tensor& x, int64_t axis, int64_t start, int64_t stop, int64_t step = 1);
Tensor select(const Tensor& x, int64_t axis, int64_t i);
Tensor unsqueeze(const Tensor& x, int64_t axis);
Tensor squeeze(const Tensor& x, int64_t axis);
Tensor broadcast_to(const Tensor& x, const Shape& shape);
/// The adjoint of slice: a zero tensor of `shape` with g written at start, start + step, ...
Tensor slice_scatter(const Tensor& g, const Shape& shape, int64_t axis, int64_t start,
                     int64_t step = 1);
/// Row-major; x itself when it already is.
Tensor contiguous(const Tensor& x);
/// Converts the dtype. The gradient is converted back; to an integer dtype there is none.
Tensor cast(const Tensor& x, DType dtype);
/// Copies to another device; the gradient comes back.
Tensor to(const Tensor& x, Device device);

}  // namespace tessera

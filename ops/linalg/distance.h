#pragma once

#include "tensor/tensor.h"

namespace tessera {

/// Euclidean distance, or its square, between corresponding vectors along the last axis, which
/// disappears; the leading axes broadcast. Gradient 0 at distance 0. Differentiable to any order.
Tensor pairwise_distance(const Tensor& a, const Tensor& b, bool squared = false);

/// Distances of all pairs: (..., M, D), (..., N, D) -> (..., M, N), through |a|^2 + |b|^2 - 2 a.b
/// and one matrix product. The square is off by some rounding errors of |a|^2 + |b|^2, and below
/// that it counts as 0 with gradient 0 in the unsquared form; use pairwise_distance where close
/// vectors must be told apart. Differentiable to any order. Throws ShapeError, DTypeError.
Tensor cdist(const Tensor& a, const Tensor& b, bool squared = false);

}  // namespace tessera

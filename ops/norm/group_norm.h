#pragma once

#include "tensor/tensor.h"

namespace tessera {

/// Normalises each of `groups` runs of C / groups neighbouring channels of every sample by its own
/// mean and biased variance.
///   x             (N, ..., C), e.g. (N, H, W, C) or (N, C); floating
///   weight, bias  (C), may be undefined (1 and 0)
/// Differentiable to any order. Throws ShapeError, DTypeError, ValueError (groups < 1 or not a
/// divisor of C). Source: Wu and He, arXiv 1803.08494.
Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& weight = {},
                  const Tensor& bias = {}, double eps = 1e-5);

}  // namespace tessera

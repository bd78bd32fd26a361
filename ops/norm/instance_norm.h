#pragma once

#include "tensor/tensor.h"

namespace tessera {

/// Normalises every channel of every sample by its own mean and biased variance.
///   x             (N, ..., C) with at least one axis between, e.g. (N, H, W, C); floating
///   weight, bias  (C), may be undefined (1 and 0)
/// Differentiable to any order. Throws ShapeError, DTypeError, ValueError (a single position per
/// channel). Source: Ulyanov et al., arXiv 1607.08022.
Tensor instance_norm(const Tensor& x, const Tensor& weight = {}, const Tensor& bias = {},
                     double eps = 1e-5);

}  // namespace tessera

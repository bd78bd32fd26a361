#pragma once

#include "tensor/tensor.h"

namespace tessera {

/// Normalises the elements of the last axes together by their mean and biased variance.
///   x             (..., normalized), floating
///   normalized    the sizes of those axes, at least one
///   weight, bias  of shape `normalized`, may be undefined (1 and 0)
/// Differentiable to any order. Throws ShapeError (`normalized` is empty or not the end of x's
/// shape, parameters of another shape), DTypeError. Source: Ba et al., arXiv 1607.06450.
Tensor layer_norm(const Tensor& x, const Shape& normalized, const Tensor& weight = {},
                  const Tensor& bias = {}, double eps = 1e-5);

}  // namespace tessera

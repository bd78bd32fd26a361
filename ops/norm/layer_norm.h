#pragma once

#include "tensor/tensor.h"

namespace tessera {

struct LayerNormOptions {
  int axes = 1;  // how many trailing axes are normalised together
  double eps = 1e-5;
};

/// Normalises the elements of the last `axes` axes together by their mean and biased variance.
///   x             at least `axes` axes, floating
///   weight, bias  the sizes of those axes, may be undefined (1 and 0)
/// Differentiable to any order. Throws ShapeError, DTypeError, ValueError (axes outside [1, rank]).
/// Source: Ba et al., arXiv 1607.06450.
Tensor layer_norm(const Tensor& x, const Tensor& weight = {}, const Tensor& bias = {},
                  const LayerNormOptions& options = {});

}  // namespace tessera

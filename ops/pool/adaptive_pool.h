#pragma once

#include "ops/pool/window.h"
#include "tensor/tensor.h"

namespace tessera {

// Pooling to a given size: output (i, j) covers rows floor(i H / out) .. ceil((i + 1) H / out) and
// the columns alike. x (N, H, W, C) floating, result (N, output.h, output.w, C). Differentiable to
// any order. Errors as make_bins().

/// Mean over each bin.
Tensor adaptive_avg_pool2d(const Tensor& x, Size2 output);
/// Maximum over each bin; ties and NaN as max_pool2d().
Tensor adaptive_max_pool2d(const Tensor& x, Size2 output);
/// Mean over all pixels: (N, H, W, C) to (N, 1, 1, C).
inline Tensor global_avg_pool2d(const Tensor& x) { return adaptive_avg_pool2d(x, 1); }

}  // namespace tessera

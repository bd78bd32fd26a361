#pragma once

#include "tensor/tensor.h"

namespace tessera {

/// x / max(||x||, eps) along one axis: unit vectors, and x / eps for vectors shorter than eps.
/// x floating. Differentiable to any order, also at zero. Throws DTypeError, ValueError (axis, eps
/// <= 0). Squares are formed in x's dtype, so f32 vectors longer than 1e19 overflow; outside f64,
/// an eps below 1e-12 counts as that.
Tensor l2_normalize(const Tensor& x, int64_t axis = -1, double eps = 1e-12);

}  // namespace tessera

#include "ops/norm/l2_normalize.h"

#include <algorithm>

#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/extrema.h"
#include "ops/pointwise/power.h"
#include "ops/reduce/sum.h"

namespace tessera {

Tensor l2_normalize(const Tensor& x, int64_t axis, double eps) {
  TESSERA_CHECK(DTypeError, is_floating(x.dtype()), "l2_normalize: needs a floating dtype, got ",
                x.dtype());
  TESSERA_CHECK(ValueError, eps > 0, "l2_normalize: eps must be positive, got ", eps);
  const int64_t dim = normalize_axis(axis, x.rank(), "l2_normalize");
  // The limit is applied to the square: the root of a clamped value has a finite slope everywhere.
  // It must not underflow, nor the slope of rsqrt overflow.
  const double limit = x.dtype() == DType::f64 ? eps * eps : std::max(eps * eps, 1e-24);
  return x * rsqrt(clamp_min(sum(x * x, {dim}, true), limit));
}

}  // namespace tessera

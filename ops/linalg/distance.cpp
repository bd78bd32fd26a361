#include "ops/linalg/distance.h"

#include <limits>

#include "ops/index/view.h"
#include "ops/linalg/matmul.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/comparison.h"
#include "ops/pointwise/extrema.h"
#include "ops/pointwise/power.h"
#include "ops/pointwise/where.h"
#include "ops/reduce/moments.h"
#include "ops/reduce/sum.h"

namespace tessera {

Tensor pairwise_distance(const Tensor& a, const Tensor& b, bool squared) {
  TESSERA_CHECK(ShapeError, a.rank() >= 1 && b.rank() >= 1 && a.size(-1) == b.size(-1),
                "pairwise_distance: ", a.shape(), " and ", b.shape(), " differ in the last axis");
  const Tensor difference = a - b;
  return squared ? sum(square(difference), {-1}) : norm(difference, 2.0, {-1});
}

Tensor cdist(const Tensor& a, const Tensor& b, bool squared) {
  TESSERA_CHECK(ShapeError, a.rank() >= 2 && b.rank() >= 2 && a.size(-1) == b.size(-1),
                "cdist: ", a.shape(), " and ", b.shape(),
                " do not fit (..., M, D) and (..., N, D)");
  const Tensor lengths = sum(square(a), {-1}, true) + transpose(sum(square(b), {-1}, true), -1, -2);
  const Tensor d2 = lengths - matmul(a, transpose(b, -1, -2)) * 2.0;
  if (squared) return clamp_min(d2, 0.0);
  const double eps = a.dtype() == DType::f64 ? std::numeric_limits<double>::epsilon()
                                             : std::numeric_limits<float>::epsilon();
  const Tensor touching = le(d2, lengths.detach() * (4 * eps));
  const Tensor safe = where(touching, ones({}, a.dtype(), a.device()), d2);
  return where(touching, zeros({}, a.dtype(), a.device()), sqrt(safe));
}

}  // namespace tessera

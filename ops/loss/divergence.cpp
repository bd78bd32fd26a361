#include "ops/loss/divergence.h"

#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/comparison.h"
#include "ops/pointwise/exponential.h"
#include "ops/pointwise/where.h"

namespace tessera {

Tensor kl_div(const Tensor& x, const Tensor& t, const KlDivOptions& options) {
  check_loss_inputs(x, t, {}, "kl_div");
  if (options.log_target) return reduce_loss(exp(t) * (t - x), options.reduction);
  // The logarithm sees 1 where t is 0, so that its slope stays finite there.
  const Tensor safe = where(gt(t, 0.0), t, ones_like(t));
  return reduce_loss(t * (log(safe) - x), options.reduction);
}

}  // namespace tessera

#include "ops/loss/regression.h"

#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/comparison.h"
#include "ops/pointwise/pointwise_op.h"
#include "ops/pointwise/power.h"
#include "ops/pointwise/rounding.h"
#include "ops/pointwise/where.h"

namespace tessera {
namespace {

Tensor difference(const Tensor& input, const Tensor& target, std::string_view op) {
  check_loss_inputs(input, target, {}, op);
  return input - target;
}

struct HuberRule : detail::PointwiseRule<kernel::huber, kernel::huber_grad, detail::From::input> {
  Tensor second(const Tensor& gg, const Tensor& d) const {
    return where(lt(abs(d), args.a), gg, zeros({}, gg.dtype(), gg.device()));
  }
};

Tensor huber(const Tensor& d, double limit) {
  return detail::pointwise<HuberRule>(d, {limit, 0.0});
}

}  // namespace

TESSERA_POINTWISE(huber, math::Huber);

Tensor mse_loss(const Tensor& input, const Tensor& target, Reduction reduction) {
  return reduce_loss(square(difference(input, target, "mse_loss")), reduction);
}

Tensor l1_loss(const Tensor& input, const Tensor& target, Reduction reduction) {
  return reduce_loss(abs(difference(input, target, "l1_loss")), reduction);
}

Tensor smooth_l1_loss(const Tensor& input, const Tensor& target, const SmoothL1Options& options) {
  TESSERA_CHECK(ValueError, options.beta >= 0, "smooth_l1_loss: beta must not be negative, got ",
                options.beta);
  const Tensor d = difference(input, target, "smooth_l1_loss");
  return reduce_loss(options.beta == 0 ? abs(d) : huber(d, options.beta) / options.beta,
                     options.reduction);
}

Tensor huber_loss(const Tensor& input, const Tensor& target, const HuberOptions& options) {
  TESSERA_CHECK(ValueError, options.delta > 0, "huber_loss: delta must be positive, got ",
                options.delta);
  return reduce_loss(huber(difference(input, target, "huber_loss"), options.delta),
                     options.reduction);
}

}  // namespace tessera

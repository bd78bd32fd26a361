#include "ops/pointwise/exponential.h"

#include "ops/pointwise/pointwise_op.h"

namespace tessera {
namespace {

struct ExpRule : detail::PointwiseRule<kernel::exp, kernel::exp_grad, detail::From::output> {
  Tensor second(const Tensor& gg, const Tensor&) const { return gg; }
};

struct Expm1Rule : detail::PointwiseRule<kernel::expm1, kernel::expm1_grad, detail::From::output> {
  Tensor second(const Tensor& gg, const Tensor&) const { return gg; }
};

struct LogRule : detail::PointwiseRule<kernel::log, kernel::log_grad, detail::From::input> {
  Tensor second(const Tensor& gg, const Tensor& x) const { return -(gg * reciprocal(x * x)); }
};

struct Log1pRule : detail::PointwiseRule<kernel::log1p, kernel::log1p_grad, detail::From::input> {
  Tensor second(const Tensor& gg, const Tensor& x) const {
    const Tensor u = x + 1.0;
    return -(gg * reciprocal(u * u));
  }
};

}  // namespace

TESSERA_POINTWISE(exp, math::Exp);
TESSERA_POINTWISE(expm1, math::Expm1);
TESSERA_POINTWISE(log, math::Log);
TESSERA_POINTWISE(log1p, math::Log1p);

Tensor exp(const Tensor& x) { return detail::pointwise<ExpRule>(x); }
Tensor expm1(const Tensor& x) { return detail::pointwise<Expm1Rule>(x); }
Tensor log(const Tensor& x) { return detail::pointwise<LogRule>(x); }
Tensor log1p(const Tensor& x) { return detail::pointwise<Log1pRule>(x); }

}  // namespace tessera

#include "ops/pointwise/exponential.h"

#include "ops/pointwise/pointwise_op.h"

namespace tessera {
namespace {

struct ExpRule {
  static constexpr std::string_view name = "exp", grad_name = "exp_grad";
  static constexpr auto* slot = &kernel::exp;
  static constexpr auto* grad_slot = &kernel::exp_grad;
  static constexpr bool from_output = true;
  PointwiseArgs args;
  Tensor second(const Tensor& gg, const Tensor&) const { return gg; }
};

struct Expm1Rule {
  static constexpr std::string_view name = "expm1", grad_name = "expm1_grad";
  static constexpr auto* slot = &kernel::expm1;
  static constexpr auto* grad_slot = &kernel::expm1_grad;
  static constexpr bool from_output = true;
  PointwiseArgs args;
  Tensor second(const Tensor& gg, const Tensor&) const { return gg; }
};

struct LogRule {
  static constexpr std::string_view name = "log", grad_name = "log_grad";
  static constexpr auto* slot = &kernel::log;
  static constexpr auto* grad_slot = &kernel::log_grad;
  static constexpr bool from_output = false;
  PointwiseArgs args;
  Tensor second(const Tensor& gg, const Tensor& x) const { return -(gg * reciprocal(x * x)); }
};

struct Log1pRule {
  static constexpr std::string_view name = "log1p", grad_name = "log1p_grad";
  static constexpr auto* slot = &kernel::log1p;
  static constexpr auto* grad_slot = &kernel::log1p_grad;
  static constexpr bool from_output = false;
  PointwiseArgs args;
  Tensor second(const Tensor& gg, const Tensor& x) const {
    const Tensor u = x + 1.0;
    return -(gg * reciprocal(u * u));
  }
};

}  // namespace

constinit PointwiseSlot kernel::exp{"exp"};
constinit PointwiseGradSlot kernel::exp_grad{"exp_grad"};
constinit PointwiseSlot kernel::expm1{"expm1"};
constinit PointwiseGradSlot kernel::expm1_grad{"expm1_grad"};
constinit PointwiseSlot kernel::log{"log"};
constinit PointwiseGradSlot kernel::log_grad{"log_grad"};
constinit PointwiseSlot kernel::log1p{"log1p"};
constinit PointwiseGradSlot kernel::log1p_grad{"log1p_grad"};
TESSERA_KERNEL(exp, cpu, detail::pointwise_cpu<math::Exp>);
TESSERA_KERNEL(exp_grad, cpu, detail::pointwise_grad_cpu<math::Exp>);
TESSERA_KERNEL(expm1, cpu, detail::pointwise_cpu<math::Expm1>);
TESSERA_KERNEL(expm1_grad, cpu, detail::pointwise_grad_cpu<math::Expm1>);
TESSERA_KERNEL(log, cpu, detail::pointwise_cpu<math::Log>);
TESSERA_KERNEL(log_grad, cpu, detail::pointwise_grad_cpu<math::Log>);
TESSERA_KERNEL(log1p, cpu, detail::pointwise_cpu<math::Log1p>);
TESSERA_KERNEL(log1p_grad, cpu, detail::pointwise_grad_cpu<math::Log1p>);

Tensor exp(const Tensor& x) { return detail::pointwise<ExpRule>(x); }
Tensor expm1(const Tensor& x) { return detail::pointwise<Expm1Rule>(x); }
Tensor log(const Tensor& x) { return detail::pointwise<LogRule>(x); }
Tensor log1p(const Tensor& x) { return detail::pointwise<Log1pRule>(x); }

}  // namespace tessera

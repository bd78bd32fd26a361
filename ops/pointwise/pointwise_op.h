#pragma once

#include <type_traits>

#include "autograd/apply.h"
#include "ops/cpu/map.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/pointwise_formulas.h"
#include "ops/pointwise/pointwise_slots.h"

/// For .cpp files: the operator, its gradient operator and the CPU kernels of a unary function,
/// from a rule and a formula (ops/pointwise/pointwise_formulas.h):
///
///   struct TanhRule : detail::PointwiseRule<kernel::tanh, kernel::tanh_grad, detail::From::output>
///   {
///     // gg * d f'(s) / ds in public operators; leave it out when f' is piecewise constant
///     Tensor second(const Tensor& gg, const Tensor& y) const { return gg * y * -2.0; }
///   };
///   TESSERA_POINTWISE(tanh, math::Tanh);  // defines the two slots and fills them for the CPU
///   Tensor tanh(const Tensor& x) { return detail::pointwise<TanhRule>(x); }
///
/// The gradient operator g * f'(s) differentiates into itself (in g) and into `second` (in s), so
/// every order is exact.
namespace tessera::detail {

/// What the gradient is a function of; the operator keeps only that.
enum class From { input, output };

template <const PointwiseSlot& kSlot, const PointwiseGradSlot& kGradSlot, From kFrom>
struct PointwiseRule {
  static constexpr const PointwiseSlot& slot = kSlot;
  static constexpr const PointwiseGradSlot& grad_slot = kGradSlot;
  static constexpr bool from_output = kFrom == From::output;
  PointwiseArgs args;
};

template <class Rule>
struct PointwiseGradOp {
  static inline const std::string_view name = Rule::grad_slot.name();
  Rule rule;

  Tensor forward(Ctx& ctx, const Tensor& g, const Tensor& saved) const {
    constexpr bool linear = !requires { rule.second(g, saved); };
    if (linear)
      ctx.save({saved});
    else
      ctx.save({saved, g});
    Tensor gx = empty_like(saved);
    Rule::grad_slot(g.device(), g, saved, rule.args, gx);
    return gx;
  }
  Grads backward(const Ctx& ctx, const Tensor& gg) const {
    const Tensor saved = ctx.saved(0);
    Grads out(2);
    if (ctx.needs_grad(0)) out[0] = apply(PointwiseGradOp{rule}, gg, saved);
    if constexpr (requires { rule.second(gg, saved); }) {
      if (ctx.needs_grad(1)) out[1] = rule.second(gg * ctx.saved(1), saved);
    }
    return out;
  }
};

template <class Rule>
struct PointwiseOp {
  static inline const std::string_view name = Rule::slot.name();
  Rule rule;

  Tensor forward(Ctx& ctx, const Tensor& x) const {
    TESSERA_CHECK(DTypeError, is_floating(x.dtype()), name, ": needs a floating dtype, got ",
                  x.dtype(), " of shape ", x.shape());
    if (!Rule::from_output) ctx.save({x});
    Tensor y = empty_like(x);
    Rule::slot(x.device(), x, rule.args, y);
    if (Rule::from_output) ctx.save_output(y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    return {apply(PointwiseGradOp<Rule>{rule}, g, ctx.saved(0))};
  }
};

template <class Rule>
Tensor pointwise(const Tensor& x, PointwiseArgs args = {}) {
  return apply(PointwiseOp<Rule>{Rule{{args}}}, x);
}

template <class Formula>
void pointwise_cpu(const Tensor& x, PointwiseArgs args, Tensor& y) {
  dispatch_floating(y.dtype(), "pointwise", [&]<class T>() {
    using C = compute_t<T>;
    const math::Args<C> typed{static_cast<C>(args.a), static_cast<C>(args.b)};
    cpu::map<T, T>(
        y, [typed](C v) { return Formula::value(v, typed); }, x);
  });
}

template <class Formula>
void pointwise_grad_cpu(const Tensor& g, const Tensor& saved, PointwiseArgs args, Tensor& gx) {
  dispatch_floating(gx.dtype(), "pointwise", [&]<class T>() {
    using C = compute_t<T>;
    const math::Args<C> typed{static_cast<C>(args.a), static_cast<C>(args.b)};
    cpu::map<T, T, T>(
        gx, [typed](C u, C s) { return Formula::grad(u, s, typed); }, g, saved);
  });
}

}  // namespace tessera::detail

#define TESSERA_POINTWISE(op, Formula)                                \
  constinit PointwiseSlot kernel::op{#op};                            \
  constinit PointwiseGradSlot kernel::op##_grad{#op "_grad"};         \
  TESSERA_KERNEL(op, cpu, ::tessera::detail::pointwise_cpu<Formula>); \
  TESSERA_KERNEL(op##_grad, cpu, ::tessera::detail::pointwise_grad_cpu<Formula>)

#pragma once

#include <type_traits>

#include "autograd/apply.h"
#include "ops/cpu/map.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/pointwise_formulas.h"
#include "ops/pointwise/pointwise_slots.h"

/// For the .cpp files of this folder: the operator, its gradient operator and the CPU kernels of a
/// unary function, from a `Rule`:
///
///   struct TanhRule {
///     static constexpr std::string_view name = "tanh", grad_name = "tanh_grad";
///     static constexpr auto *slot = &kernel::tanh;
///     static constexpr auto *grad_slot = &kernel::tanh_grad;
///     static constexpr bool from_output = true;    // the gradient is a function of y, not of x
///     PointwiseArgs args;
///     // gg * d f'(s) / ds in public operators; leave it out when f' is piecewise constant
///     Tensor second(const Tensor& gg, const Tensor& y) const;
///   };
///
/// The gradient operator g * f'(s) differentiates into itself (in g) and into `second` (in s), so
/// every order is exact.
namespace tessera::detail {

template <class Rule>
struct PointwiseGradOp {
  static constexpr std::string_view name = Rule::grad_name;
  Rule rule;

  Tensor forward(Ctx& ctx, const Tensor& g, const Tensor& saved) const {
    constexpr bool linear = !requires { rule.second(g, saved); };
    if (linear)
      ctx.save({saved});
    else
      ctx.save({saved, g});
    Tensor gx = empty_like(saved);
    Rule::grad_slot->get(g.device())(g, saved, rule.args, gx);
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
  static constexpr std::string_view name = Rule::name;
  Rule rule;

  Tensor forward(Ctx& ctx, const Tensor& x) const {
    TESSERA_CHECK(DTypeError, is_floating(x.dtype()), name, ": needs a floating dtype, got ",
                  x.dtype(), " of shape ", x.shape());
    if (!Rule::from_output) ctx.save({x});
    Tensor y = empty_like(x);
    Rule::slot->get(x.device())(x, rule.args, y);
    if (Rule::from_output) ctx.save_output(y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    return {apply(PointwiseGradOp<Rule>{rule}, g, ctx.saved(0))};
  }
};

template <class Rule>
Tensor pointwise(const Tensor& x, PointwiseArgs args = {}) {
  return apply(PointwiseOp<Rule>{{args}}, x);
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

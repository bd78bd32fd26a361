#include "ops/loss/binary.h"

#include "autograd/apply.h"
#include "autograd/engine.h"
#include "ops/cpu/map.h"
#include "ops/loss/binary_formulas.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/exponential.h"
#include "ops/pointwise/extrema.h"
#include "ops/pointwise/logistic.h"
#include "ops/pointwise/power.h"
#include "ops/reduce/sum.h"
#include "tensor/view.h"

namespace tessera {
namespace {

// -log sigmoid(x), exact in both tails.
Tensor negative_log(const Tensor& x) { return -log_sigmoid(x); }

// g d/dx: g ((1 - t) sigmoid(x) - w t sigmoid(-x)), w the weight of the positives.
struct BceWithLogitsGrad {
  static constexpr std::string_view name = "bce_with_logits_grad";
  Tensor forward(Ctx& ctx, const Tensor& g, const Tensor& x, const Tensor& t,
                 const Tensor& w) const {
    ctx.save({g, x, t, w});
    Tensor gx = empty_like(x);
    kernel::bce_with_logits_grad(x.device(), g, x, t, w, gx);
    return gx;
  }
  Grads backward(const Ctx& ctx, const Tensor& gg) const {
    return composite_vjp(
        [](const Tensors& in) {
          const Tensor &x = in[1], &t = in[2];
          return Tensors{in[0] * ((1.0 - t) * sigmoid(x) - t * sigmoid(-x) * in[3])};
        },
        {ctx.saved(0), ctx.saved(1), ctx.saved(2), ctx.saved(3)}, {gg},
        {ctx.needs_grad(0), ctx.needs_grad(1), ctx.needs_grad(2), ctx.needs_grad(3)});
  }
};

struct BceWithLogits {
  static constexpr std::string_view name = "bce_with_logits";
  Tensor forward(Ctx& ctx, const Tensor& x, const Tensor& t, const Tensor& w) const {
    ctx.save({x, t, w});
    Tensor y = empty_like(x);
    kernel::bce_with_logits(x.device(), x, t, w, y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    const Tensor x = ctx.saved(0), t = ctx.saved(1), w = ctx.saved(2);
    Grads out(3);
    if (ctx.needs_grad(0)) out[0] = apply(BceWithLogitsGrad{}, g, x, t, w);
    if (ctx.needs_grad(1)) out[1] = g * (negative_log(x) * w - negative_log(-x));
    if (ctx.needs_grad(2)) out[2] = sum_to(g * t * negative_log(x), w.shape());
    return out;
  }
};

void bce_with_logits_cpu(const Tensor& x, const Tensor& t, const Tensor& w, Tensor& y) {
  dispatch_floating(y.dtype(), "bce_with_logits",
                    [&]<class T>() { cpu::map<T, T, T, T>(y, math::BceWithLogits{}, x, t, w); });
}

void bce_with_logits_grad_cpu(const Tensor& g, const Tensor& x, const Tensor& t, const Tensor& w,
                              Tensor& gx) {
  dispatch_floating(gx.dtype(), "bce_with_logits_grad", [&]<class T>() {
    cpu::map<T, T, T, T, T>(gx, math::BceWithLogitsGrad{}, g, x, t, w);
  });
}

struct Bce {
  static constexpr std::string_view name = "bce_loss";
  Tensor forward(Ctx& ctx, const Tensor& p, const Tensor& t) const {
    ctx.save({p, t});
    Tensor y = empty(p.shape(), p.dtype(), p.device());
    kernel::bce(p.device(), view::contiguous(p), view::contiguous(t), y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    const Tensor p = ctx.saved(0), t = ctx.saved(1);
    Tensor gp, gt;
    if (ctx.needs_grad(0)) gp = g * (p - t) / clamp_min(p * (1.0 - p), 1e-12);
    if (ctx.needs_grad(1)) gt = g * (clamp_min(log(1.0 - p), -100.0) - clamp_min(log(p), -100.0));
    return {gp, gt};
  }
};

void bce_cpu(const Tensor& probabilities, const Tensor& t, Tensor& y) {
  dispatch_floating(y.dtype(), "bce_loss", [&]<class T>() {
    using C = compute_t<T>;
    const T* values = probabilities.data<T>();
    for (int64_t i = 0; i < probabilities.numel(); ++i) {
      const C p = static_cast<C>(values[i]);
      TESSERA_CHECK(ValueError, math::is_probability(p),
                    "bce_loss: probabilities must lie in [0, 1], got ", p, " at element ", i,
                    "; logits belong to bce_with_logits");
    }
    cpu::map<T, T, T>(y, math::Bce{}, probabilities, t);
  });
}

}  // namespace

constinit KernelSlot<void(const Tensor&, const Tensor&, Tensor&)> kernel::bce{"bce"};
TESSERA_KERNEL(bce, cpu, bce_cpu);
constinit KernelSlot<void(const Tensor&, const Tensor&, const Tensor&, Tensor&)>
    kernel::bce_with_logits{"bce_with_logits"};
constinit KernelSlot<void(const Tensor&, const Tensor&, const Tensor&, const Tensor&, Tensor&)>
    kernel::bce_with_logits_grad{"bce_with_logits_grad"};
TESSERA_KERNEL(bce_with_logits, cpu, bce_with_logits_cpu);
TESSERA_KERNEL(bce_with_logits_grad, cpu, bce_with_logits_grad_cpu);

Tensor bce_with_logits(const Tensor& x, const Tensor& t, const BceWithLogitsOptions& options) {
  check_loss_inputs(x, t, options.weight, "bce_with_logits");
  check_loss_inputs(x, t, options.pos_weight, "bce_with_logits");
  const Tensor one = ones({}, x.dtype(), x.device());
  Tensor loss =
      apply(BceWithLogits{}, x, t, options.pos_weight.defined() ? options.pos_weight : one);
  if (options.weight.defined()) loss = loss * options.weight;
  return reduce_loss(loss, options.reduction);
}

Tensor bce_loss(const Tensor& p, const Tensor& t, const BceOptions& options) {
  check_loss_inputs(p, t, options.weight, "bce_loss");
  Tensor loss = apply(Bce{}, p, t);
  if (options.weight.defined()) loss = loss * options.weight;
  return reduce_loss(loss, options.reduction);
}

Tensor sigmoid_focal_loss(const Tensor& x, const Tensor& t, const SigmoidFocalOptions& options) {
  check_loss_inputs(x, t, {}, "sigmoid_focal_loss");
  TESSERA_CHECK(ValueError, options.gamma >= 0 && options.alpha <= 1,
                "sigmoid_focal_loss: needs gamma >= 0 and alpha <= 1, got ", options.gamma, " and ",
                options.alpha);
  const Tensor bce = t * negative_log(x) + (1.0 - t) * negative_log(-x);
  // 1 - p_t from the tail that does not cancel.
  const Tensor miss = t * sigmoid(-x) + (1.0 - t) * sigmoid(x);
  Tensor loss = bce * pow(miss, options.gamma);
  if (options.alpha >= 0) loss = loss * affine(t, 2 * options.alpha - 1, 1 - options.alpha);
  return reduce_loss(loss, options.reduction);
}

}  // namespace tessera

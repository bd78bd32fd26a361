#include "ops/loss/binary.h"

#include "autograd/apply.h"
#include "ops/cpu/map.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/elementary.h"
#include "ops/pointwise/exponential.h"
#include "ops/pointwise/extrema.h"
#include "ops/pointwise/logistic.h"
#include "ops/pointwise/power.h"
#include "tensor/view.h"

namespace tessera {
namespace {

// -log sigmoid(x), exact in both tails.
Tensor negative_log(const Tensor& x) { return -log_sigmoid(x); }

struct Bce {
  static constexpr std::string_view name = "bce_loss";
  Tensor forward(Ctx& ctx, const Tensor& p, const Tensor& t) const {
    ctx.save({p, t});
    Tensor y = empty(p.shape(), p.dtype(), p.device());
    kernel::bce.get(p.device())(view::contiguous(p), view::contiguous(t), y);
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

void bce_cpu(const Tensor& p_, const Tensor& t_, Tensor& y) {
  dispatch_floating(y.dtype(), "bce_loss", [&]<class T>() {
    using C = compute_t<T>;
    const T* values = p_.data<T>();
    for (int64_t i = 0; i < p_.numel(); ++i) {
      const C p = static_cast<C>(values[i]);
      TESSERA_CHECK(ValueError, !(p < C(0) || p > C(1)),
                    "bce_loss: probabilities must lie in [0, 1], got ", p, " at element ", i,
                    "; logits belong to bce_with_logits");
    }
    cpu::map<T, T, T>(
        y,
        [](C p, C t) {
          const C yes = math::log(p), no = math::log1p(-p), floor = C(-100);
          return -(t * (yes < floor ? floor : yes) + (C(1) - t) * (no < floor ? floor : no));
        },
        p_, t_);
  });
}

}  // namespace

constinit KernelSlot<void(const Tensor&, const Tensor&, Tensor&)> kernel::bce{"bce"};
TESSERA_KERNEL(bce, cpu, bce_cpu);

Tensor bce_with_logits(const Tensor& x, const Tensor& t, const BceWithLogitsOptions& options) {
  check_loss_inputs(x, t, options.weight, "bce_with_logits");
  check_loss_inputs(x, t, options.pos_weight, "bce_with_logits");
  Tensor positive = t * negative_log(x);
  if (options.pos_weight.defined()) positive = positive * options.pos_weight;
  Tensor loss = positive + (1.0 - t) * negative_log(-x);
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

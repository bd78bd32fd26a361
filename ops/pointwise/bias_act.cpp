#include "ops/pointwise/bias_act.h"

#include <cmath>
#include <numbers>
#include <numeric>

#include "autograd/apply.h"
#include "autograd/engine.h"
#include "ops/cpu/map.h"
#include "ops/index/view.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/bias_act_formulas.h"
#include "ops/pointwise/comparison.h"
#include "ops/pointwise/logistic.h"
#include "ops/reduce/sum.h"
#include "tensor/view.h"

namespace tessera {
namespace {

// Reshapes a bias to broadcast along `axis`; undefined stays so.
Tensor along(const Tensor& bias, int axis, int rank) {
  if (!bias.defined()) return bias;
  Shape shape;
  for (int d = 0; d < rank; ++d) shape.push_back(d == axis ? bias.numel() : 1);
  return view::reshape(bias, shape);
}

Tensor bias_gradient(const Tensor& gx, int axis) {
  Dims others;
  for (int d = 0; d < gx.rank(); ++d)
    if (d != axis) others.push_back(d);
  return others.empty() ? gx : sum(gx, others);
}

// u * swish''(x + bias) * gain in public operators, for the orders that have no kernel.
Tensor swish_second(const Tensor& u, const Tensor& x, const Tensor& bias, const BiasActArgs& args,
                    int axis) {
  Shape shape;
  for (int d = 0; d < x.rank(); ++d) shape.push_back(d == axis ? x.size(axis) : 1);
  const Tensor at = bias.defined() ? x + reshape(bias, shape) : x;
  const Tensor s = sigmoid(at);
  const Tensor second = u * (s * (1.0 - s) * (2.0 + at * (1.0 - 2.0 * s))) * args.gain;
  if (!args.clamped) return second;
  const Tensor y = (at * s).detach() * args.gain;
  return second * cast(lt(y, args.clamp), x.dtype()) * cast(gt(y, -args.clamp), x.dtype());
}

/// g times a derivative of order args.order. Differentiates into itself, one order up, for as long
/// as that is not zero everywhere.
struct BiasActGrad {
  static constexpr std::string_view name = "bias_act_grad";
  BiasActArgs args;
  int axis;

  bool next_vanishes() const { return math::act_derivative_vanishes(args.act, args.order + 1); }

  Tensor forward(Ctx& ctx, const Tensor& g, const Tensor& saved, const Tensor& bias) const {
    ctx.save({saved, bias});
    if (!next_vanishes()) ctx.save({g});
    Tensor gx = empty(g.shape(), g.dtype(), g.device());
    kernel::bias_act_grad(g.device(), g, saved, along(bias, axis, g.rank()), args, gx);
    return gx;
  }
  Grads backward(const Ctx& ctx, const Tensor& gg) const {
    const Tensor saved = ctx.saved(0), bias = ctx.saved(1);
    Grads out(3);
    if (ctx.needs_grad(0)) out[0] = apply(*this, gg, saved, bias);
    if ((!ctx.needs_grad(1) && !ctx.needs_grad(2)) || next_vanishes()) return out;
    if (args.act == Act::swish && args.order == 2) return from_composite(ctx, gg, out[0]);
    BiasActGrad next = *this;
    ++next.args.order;
    const Tensor at_saved = apply(next, gg * ctx.saved(2), saved, bias);
    if (ctx.needs_grad(1)) out[1] = at_saved;
    if (ctx.needs_grad(2)) out[2] = bias_gradient(at_saved, axis);
    return out;
  }
  Grads from_composite(const Ctx& ctx, const Tensor& gg, const Tensor& g_gradient) const {
    const auto fn = [self = *this](const Tensors& in) {
      const Tensor bias = in.size() > 2 ? in[2] : Tensor();
      return Tensors{swish_second(in[0], in[1], bias, self.args, self.axis)};
    };
    Tensors inputs{ctx.saved(2), ctx.saved(0)};
    std::vector<bool> wanted{false, ctx.needs_grad(1)};
    if (ctx.saved(1).defined()) {
      inputs.push_back(ctx.saved(1));
      wanted.push_back(ctx.needs_grad(2));
    }
    Grads out = composite_vjp(fn, inputs, {gg}, wanted);
    out.resize(3);
    out[0] = g_gradient;
    return out;
  }
};

struct BiasAct {
  static constexpr std::string_view name = "bias_act";
  BiasActArgs args;
  int axis;

  Tensor forward(Ctx& ctx, const Tensor& x, const Tensor& bias) const {
    Tensor y = empty(x.shape(), x.dtype(), x.device());
    kernel::bias_act(x.device(), x, along(bias, axis, x.rank()), args, y);
    if (args.act == Act::swish)
      ctx.save({x, bias});
    else if (args.act != Act::linear)
      ctx.save_output(y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    Tensor gx;
    if (args.act == Act::linear) {
      gx = args.gain == 1 ? g : g * args.gain;
    } else {
      BiasActGrad first{args, axis};
      first.args.order = 1;
      gx = apply(first, g, ctx.saved(0), args.act == Act::swish ? ctx.saved(1) : Tensor());
    }
    Grads out(2);
    if (ctx.needs_grad(0)) out[0] = gx;
    if (ctx.needs_grad(1)) out[1] = bias_gradient(gx, axis);
    return out;
  }
};

// How many pixels of few channels the loop takes as one of many, with the bias repeated: runs of
// three elements are not worth a vector.
int64_t pixels_at_once(const Tensor& x, const Tensor& bias) {
  constexpr int64_t kFew = 32, kPixels = 64;
  if (!bias.defined() || bias.size(-1) != bias.numel() || bias.numel() == 0) return 1;
  if (bias.numel() >= kFew || !x.is_contiguous()) return 1;
  return std::gcd(x.numel() / bias.numel(), kPixels);
}

void bias_act_cpu(const Tensor& x, const Tensor& bias, const BiasActArgs& args, Tensor& y) {
  if (const int64_t times = pixels_at_once(x, bias); times > 1) {
    const int64_t channels = bias.numel(), row = channels * times;
    const Tensor repeated =
        view::contiguous(view::broadcast_to(view::reshape(bias, {1, channels}), {times, channels}));
    Tensor rows = view::reshape(y, {y.numel() / row, row});
    return bias_act_cpu(view::reshape(x, rows.shape()), view::reshape(repeated, {1, row}), args,
                        rows);
  }
  dispatch_floating(y.dtype(), "bias_act", [&]<class T>() {
    const math::BiasActScalars<compute_t<T>> scalars(args);
    math::dispatch_act(args.act, [&]<Act kAct>() {
      const math::BiasAct<kAct, compute_t<T>> f{scalars};
      if (bias.defined())
        cpu::map<T, T, T>(y, f, x, bias);
      else
        cpu::map<T, T>(y, f, x);
    });
  });
}

void bias_act_grad_cpu(const Tensor& g, const Tensor& saved, const Tensor& bias,
                       const BiasActArgs& args, Tensor& gx) {
  dispatch_floating(gx.dtype(), "bias_act_grad", [&]<class T>() {
    const math::BiasActScalars<compute_t<T>> scalars(args);
    math::dispatch_act(args.act, [&]<Act kAct>() {
      const math::BiasActGrad<kAct, compute_t<T>> f{scalars};
      if constexpr (kAct == Act::swish) {
        if (bias.defined()) return cpu::map<T, T, T, T>(gx, f, g, saved, bias);
      }
      cpu::map<T, T, T>(gx, f, g, saved);
    });
  });
}

BiasActArgs checked_args(const BiasActOptions& o) {
  const BiasActArgs args{.act = o.act,
                         .alpha = o.alpha.value_or(0.2),
                         .gain = o.gain.value_or(default_gain(o.act)),
                         .clamp = o.clamp.value_or(0),
                         .clamped = o.clamp.has_value()};
  TESSERA_CHECK(ValueError, args.alpha >= 0, "bias_act: alpha must not be negative, got ",
                args.alpha);
  TESSERA_CHECK(ValueError, args.gain != 0 && std::isfinite(args.gain),
                "bias_act: gain must be finite and not 0, got ", args.gain);
  TESSERA_CHECK(ValueError, args.clamp >= 0, "bias_act: clamp must not be negative, got ",
                args.clamp);
  return args;
}

}  // namespace

namespace kernel {
constinit KernelSlot<void(const Tensor&, const Tensor&, const BiasActArgs&, Tensor&)> bias_act{
    "bias_act"};
constinit KernelSlot<void(const Tensor&, const Tensor&, const Tensor&, const BiasActArgs&, Tensor&)>
    bias_act_grad{"bias_act_grad"};
}  // namespace kernel
TESSERA_KERNEL(bias_act, cpu, bias_act_cpu);
TESSERA_KERNEL(bias_act_grad, cpu, bias_act_grad_cpu);

double default_gain(Act act) {
  return act == Act::relu || act == Act::lrelu || act == Act::swish ? std::numbers::sqrt2 : 1.0;
}

Tensor bias_act(const Tensor& x, const Tensor& bias, const BiasActOptions& options) {
  TESSERA_CHECK(DTypeError, is_floating(x.dtype()), "bias_act: needs a floating dtype, got ",
                x.dtype(), " of shape ", x.shape());
  const BiasActArgs args = checked_args(options);
  int axis = 0;
  if (x.rank() > 0 || bias.defined()) axis = normalize_axis(options.axis, x.rank(), "bias_act");
  if (bias.defined()) {
    TESSERA_CHECK(ShapeError, bias.shape() == Shape{x.size(axis)}, "bias_act: bias must be [",
                  x.size(axis), "] for axis ", axis, " of ", x.shape(), ", got ", bias.shape());
    TESSERA_CHECK(DTypeError, bias.dtype() == x.dtype(), "bias_act: x is ", x.dtype(), ", bias is ",
                  bias.dtype());
    TESSERA_CHECK(DeviceError, bias.device() == x.device(), "bias_act: x is on ", x.device(),
                  ", bias on ", bias.device());
  }
  return apply(BiasAct{args, axis}, x, bias);
}

}  // namespace tessera

#include "ops/norm/channel_norm.h"

#include "autograd/apply.h"
#include "autograd/engine.h"
#include "ops/index/view.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/power.h"
#include "ops/reduce/sum.h"
#include "tensor/view.h"

namespace tessera {
namespace {

struct Settings {
  NormLayout layout;
  double eps;
  bool given;
  Tensor mean, var;  // (batch, groups)
};

// The same function from public operators: what the second order differentiates.
Tensor composite(const Settings& s, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const NormLayout& l = s.layout;
  const double n = static_cast<double>(l.count());
  const DType dtype = s.mean.dtype();
  Tensor v = reshape(cast(x, dtype), {l.batch, l.spatial, l.groups(), l.group});
  if (s.given) {
    const Shape per_group{l.batch, 1, l.groups(), 1};
    v = (v - reshape(s.mean, per_group)) * rsqrt(reshape(s.var, per_group) + s.eps);
  } else {
    v = v - sum(v, {1, 3}, true) / n;
    v = v * rsqrt(sum(v * v, {1, 3}, true) / n + s.eps);
  }
  v = reshape(v, {l.batch, l.spatial, l.channels});
  if (weight.defined()) v = v * cast(weight, dtype);
  if (bias.defined()) v = v + cast(bias, dtype);
  return cast(reshape(v, x.shape()), x.dtype());
}

// gx, gw, gb; only the ones asked for are defined.
struct ChannelNormBackward {
  static constexpr std::string_view name = "channel_norm_backward";
  Settings settings;
  bool want_x, want_weight;
  DType weight_dtype;

  Tensors forward(Ctx& ctx, const Tensor& g, const Tensor& x, const Tensor& weight) const {
    ctx.save({g, x, weight});
    const Settings& s = settings;
    Tensor gx, gw, gb;
    if (want_x) gx = empty(x.shape(), x.dtype(), x.device());
    if (want_weight) {
      gw = empty({s.layout.channels}, s.mean.dtype(), x.device());
      gb = empty_like(gw);
    }
    kernel::channel_norm_backward(x.device(), view::contiguous(g), view::contiguous(x), s.layout,
                                  weight, s.eps, s.given, s.mean, s.var, gx, gw, gb);
    if (want_weight) {
      gw = view::to(gw, weight_dtype);
      gb = view::to(gb, weight_dtype);
    }
    return {gx, gw, gb};
  }

  Grads backward(const Ctx& ctx, const Grads& gg) const {
    Tensors wanted_gg;
    if (want_x) wanted_gg.push_back(gg[0]);
    if (want_weight) wanted_gg.insert(wanted_gg.end(), {gg[1], gg[2]});
    auto first_order = [this](const Tensors& in) {  // g, x, weight
      Tensor weight = in[2];
      if (!weight.defined() && want_weight)
        weight = ones({settings.layout.channels}, weight_dtype, in[1].device());
      const Tensor bias = want_weight ? zeros_like(weight) : Tensor();
      const Grads grads = composite_vjp(
          [this](const Tensors& v) { return Tensors{composite(settings, v[0], v[1], v[2])}; },
          {in[1], weight, bias}, {in[0]}, {want_x, want_weight, want_weight});
      Tensors out;
      for (const Tensor& t : grads)
        if (t.defined()) out.push_back(t);
      return out;
    };
    return composite_vjp(first_order, {ctx.saved(0), ctx.saved(1), ctx.saved(2)}, wanted_gg,
                         {ctx.needs_grad(0), ctx.needs_grad(1), ctx.needs_grad(2)});
  }
};

struct ChannelNorm {
  static constexpr std::string_view name = "channel_norm";
  Settings settings;
  DType weight_dtype;

  Tensor forward(Ctx& ctx, const Tensor& x, const Tensor& weight, const Tensor& bias) const {
    ctx.save({x, weight});
    Tensor y = empty(x.shape(), x.dtype(), x.device());
    Tensor mean = settings.mean, var = settings.var;
    kernel::channel_norm(x.device(), view::contiguous(x), settings.layout, weight, bias,
                         settings.eps, settings.given, mean, var, y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    const bool want_weight = ctx.needs_grad(1) || ctx.needs_grad(2);
    return apply(ChannelNormBackward{settings, ctx.needs_grad(0), want_weight, weight_dtype}, g,
                 ctx.saved(0), ctx.saved(1));
  }
};

}  // namespace

constinit KernelSlot<void(const Tensor&, const NormLayout&, const Tensor&, const Tensor&, double,
                          bool, Tensor&, Tensor&, Tensor&)>
    kernel::channel_norm{"channel_norm"};
constinit KernelSlot<void(const Tensor&, const Tensor&, const NormLayout&, const Tensor&, double,
                          bool, const Tensor&, const Tensor&, Tensor&, Tensor&, Tensor&)>
    kernel::channel_norm_backward{"channel_norm_backward"};

Tensor channel_norm(const Tensor& x, const NormLayout& layout, const Tensor& weight,
                    const Tensor& bias, double eps, Tensor& mean, Tensor& var, bool given) {
  const DType weight_dtype = weight.defined() ? weight.dtype()
                             : bias.defined() ? bias.dtype()
                                              : x.dtype();
  return apply(ChannelNorm{{layout, eps, given, mean, var}, weight_dtype}, x, weight, bias);
}

void check_norm_inputs(const Tensor& x, const Tensor& weight, const Tensor& bias,
                       const Shape& expected, double eps, std::string_view op) {
  TESSERA_CHECK(DTypeError, is_floating(x.dtype()), op, ": needs a floating dtype, got ",
                x.dtype());
  TESSERA_CHECK(ValueError, eps >= 0, op, ": eps must not be negative, got ", eps);
  for (const Tensor* t : {&weight, &bias}) {
    if (!t->defined()) continue;
    TESSERA_CHECK(ShapeError, t->shape() == expected, op, ": ", t == &weight ? "weight " : "bias ",
                  t->shape(), " does not fit input ", x.shape(), ", expected ", expected);
    TESSERA_CHECK(DTypeError, is_floating(t->dtype()), op,
                  ": weight and bias must be floating, got ", t->dtype());
  }
  TESSERA_CHECK(DTypeError, !weight.defined() || !bias.defined() || weight.dtype() == bias.dtype(),
                op, ": weight and bias differ in dtype");
}

}  // namespace tessera

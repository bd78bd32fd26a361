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
  Activation activation;
  Tensor mean, var;  // (batch, groups)
};

// The norm without its epilogue, from public operators: what the second order differentiates.
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

// The gradients of x, weight, bias and residual; only the ones asked for are defined. y is the
// result of the forward pass where there is an activation: it tells the clamped elements.
struct ChannelNormBackward {
  static constexpr std::string_view name = "channel_norm_backward";
  Settings settings;
  bool want_x, want_weight, want_residual;
  DType weight_dtype;

  Tensors forward(Ctx& ctx, const Tensor& g, const Tensor& x, const Tensor& weight,
                  const Tensor& y) const {
    ctx.save({g, x, weight, y});
    const Settings& s = settings;
    NormGradients out;
    if (want_x) out.x = empty(x.shape(), x.dtype(), x.device());
    if (want_weight) {
      out.weight = empty({s.layout.channels}, s.mean.dtype(), x.device());
      out.bias = empty_like(out.weight);
    }
    if (want_residual) out.residual = empty(x.shape(), x.dtype(), x.device());
    kernel::channel_norm_backward(x.device(), view::contiguous(g), view::contiguous(x), y, s.layout,
                                  weight, s.eps, s.given, s.activation, s.mean, s.var, out);
    if (want_weight) {
      out.weight = view::to(out.weight, weight_dtype);
      out.bias = view::to(out.bias, weight_dtype);
    }
    return {out.x, out.weight, out.bias, out.residual};
  }

  // The gradients of g, x and weight; y only selects, so it has none.
  Grads backward(const Ctx& ctx, const Grads& gg) const {
    Tensors wanted_gg;
    if (want_x) wanted_gg.push_back(gg[0]);
    if (want_weight) wanted_gg.insert(wanted_gg.end(), {gg[1], gg[2]});
    if (want_residual) wanted_gg.push_back(gg[3]);
    const Tensor y = ctx.saved(3).defined() ? ctx.saved(3).detach() : Tensor();
    auto first_order = [&](const Tensors& in) { return gradients(in[0], in[1], in[2], y); };
    Grads out = composite_vjp(first_order, {ctx.saved(0), ctx.saved(1), ctx.saved(2)}, wanted_gg,
                              {ctx.needs_grad(0), ctx.needs_grad(1), ctx.needs_grad(2)});
    out.emplace_back();
    return out;
  }

 private:
  // What forward computes, from public operators.
  Tensors gradients(const Tensor& g, const Tensor& x, const Tensor& w, const Tensor& y) const {
    Tensor inner = g, weight = w;
    // A clamp has the same derivative at its result as at its argument.
    if (settings.activation != Activation::none)
      inner = composite_vjp(
          [this](const Tensors& v) { return Tensors{activate(v[0], settings.activation)}; }, {y},
          {g})[0];
    if (!weight.defined() && want_weight)
      weight = ones({settings.layout.channels}, weight_dtype, x.device());
    const Tensor bias = want_weight ? zeros_like(weight) : Tensor();
    Tensors out;
    for (const Tensor& t : composite_vjp(
             [this](const Tensors& v) { return Tensors{composite(settings, v[0], v[1], v[2])}; },
             {x, weight, bias}, {inner}, {want_x, want_weight, want_weight}))
      if (t.defined()) out.push_back(t);
    if (want_residual) out.push_back(inner);
    return out;
  }
};

struct ChannelNorm {
  static constexpr std::string_view name = "channel_norm";
  Settings settings;
  DType weight_dtype;

  Tensor forward(Ctx& ctx, const Tensor& x, const Tensor& weight, const Tensor& bias,
                 const Tensor& residual) const {
    ctx.save({x, weight});
    Tensor y = empty(x.shape(), x.dtype(), x.device());
    Tensor mean = settings.mean, var = settings.var;
    const NormEpilogue epilogue{residual.defined() ? view::contiguous(residual) : residual,
                                settings.activation};
    kernel::channel_norm(x.device(), view::contiguous(x), settings.layout, weight, bias,
                         settings.eps, settings.given, epilogue, mean, var, y);
    if (settings.activation != Activation::none) ctx.save_output(y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    const bool active = settings.activation != Activation::none;
    const bool want_weight = ctx.needs_grad(1) || ctx.needs_grad(2);
    const bool want_masked = active && ctx.needs_grad(3);
    Grads out(4);
    if (ctx.needs_grad(0) || want_weight || want_masked)
      out = apply(
          ChannelNormBackward{settings, ctx.needs_grad(0), want_weight, want_masked, weight_dtype},
          g, ctx.saved(0), ctx.saved(1), active ? ctx.saved(2) : Tensor());
    if (!active && ctx.needs_grad(3)) out[3] = g;
    return out;
  }
};

}  // namespace

constinit KernelSlot<void(const Tensor&, const NormLayout&, const Tensor&, const Tensor&, double,
                          bool, const NormEpilogue&, Tensor&, Tensor&, Tensor&)>
    kernel::channel_norm{"channel_norm"};
constinit KernelSlot<void(const Tensor&, const Tensor&, const Tensor&, const NormLayout&,
                          const Tensor&, double, bool, Activation, const Tensor&, const Tensor&,
                          NormGradients&)>
    kernel::channel_norm_backward{"channel_norm_backward"};

Tensor channel_norm(const Tensor& x, const NormLayout& layout, const Tensor& weight,
                    const Tensor& bias, double eps, Tensor& mean, Tensor& var, bool given,
                    const NormEpilogue& epilogue) {
  const DType weight_dtype = weight.defined() ? weight.dtype()
                             : bias.defined() ? bias.dtype()
                                              : x.dtype();
  return apply(ChannelNorm{{layout, eps, given, epilogue.activation, mean, var}, weight_dtype}, x,
               weight, bias, epilogue.residual);
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

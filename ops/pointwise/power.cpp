#include "ops/pointwise/power.h"

#include "ops/pointwise/comparison.h"
#include "ops/pointwise/exponential.h"
#include "ops/pointwise/pointwise_op.h"
#include "ops/pointwise/power_formulas.h"
#include "ops/pointwise/where.h"
#include "ops/reduce/sum.h"

namespace tessera {
namespace {

struct SqrtRule : detail::PointwiseRule<kernel::sqrt, kernel::sqrt_grad, detail::From::output> {
  Tensor second(const Tensor& gg, const Tensor& y) const { return gg * reciprocal(y * y, -0.5); }
};

struct RsqrtRule : detail::PointwiseRule<kernel::rsqrt, kernel::rsqrt_grad, detail::From::output> {
  Tensor second(const Tensor& gg, const Tensor& y) const { return gg * (y * y) * -1.5; }
};

struct SquareRule
    : detail::PointwiseRule<kernel::square, kernel::square_grad, detail::From::input> {
  Tensor second(const Tensor& gg, const Tensor&) const { return gg * 2.0; }
};

struct PowScalarOp {
  static constexpr std::string_view name = "pow";
  double exponent;
  Tensor forward(Ctx& ctx, const Tensor& x) const {
    TESSERA_CHECK(DTypeError, is_floating(x.dtype()), "pow: needs a floating dtype, got ",
                  x.dtype(), " of shape ", x.shape());
    ctx.save({x});
    Tensor y = empty_like(x);
    kernel::pow_scalar(x.device(), x, exponent, y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    if (exponent == 0) return {zeros_like(g)};
    return {g * (pow(ctx.saved(0), exponent - 1) * exponent)};
  }
};

struct PowOp {
  static constexpr std::string_view name = "pow";
  Tensor forward(Ctx& ctx, const Tensor& x, const Tensor& p) const {
    TESSERA_CHECK(DTypeError, is_floating(x.dtype()) && x.dtype() == p.dtype(),
                  "pow: needs two tensors of one floating dtype, got ", x.dtype(), " ", x.shape(),
                  " and ", p.dtype(), " ", p.shape());
    TESSERA_CHECK(DeviceError, x.device() == p.device(), "pow: devices ", x.device(), " and ",
                  p.device(), " differ");
    ctx.save({x, p});
    Tensor y = empty(broadcast_shapes(x.shape(), p.shape(), name), x.dtype(), x.device());
    ctx.save_output(y);
    kernel::pow(y.device(), x, p, y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    const Tensor x = ctx.saved(0), p = ctx.saved(1);
    const Tensor zero = zeros({}, x.dtype(), x.device());
    Grads out(2);
    if (ctx.needs_grad(0))
      out[0] = sum_to(where(eq(p, 0.0), zero, g * p * pow(x, p - 1.0)), x.shape());
    if (ctx.needs_grad(1)) {
      // log(0) must not reach the product: 0 * inf.
      const Tensor skip = logical_and(eq(x, 0.0), ge(p, 0.0));
      const Tensor safe = where(skip, ones({}, x.dtype(), x.device()), x);
      out[1] = sum_to(where(skip, zero, g * ctx.saved(2) * log(safe)), p.shape());
    }
    return out;
  }
};

void pow_scalar_cpu(const Tensor& x, double exponent, Tensor& y) {
  dispatch_floating(y.dtype(), "pow", [&]<class T>() {
    using C = compute_t<T>;
    const auto map = [&](const auto& f) { cpu::map<T, T>(y, f, x); };
    if (math::with_fixed_power(exponent, map)) return;
    const C p = static_cast<C>(exponent);
    map([p](C v) { return math::pow(v, p); });
  });
}

void pow_cpu(const Tensor& x, const Tensor& exponent, Tensor& y) {
  dispatch_floating(y.dtype(), "pow", [&]<class T>() {
    using C = compute_t<T>;
    cpu::map<T, T, T>(
        y, [](C v, C p) { return math::pow(v, p); }, x, exponent);
  });
}

}  // namespace

TESSERA_POINTWISE(sqrt, math::Sqrt);
TESSERA_POINTWISE(rsqrt, math::Rsqrt);
TESSERA_POINTWISE(square, math::Square);

constinit KernelSlot<void(const Tensor&, double, Tensor&)> kernel::pow_scalar{"pow_scalar"};
constinit KernelSlot<void(const Tensor&, const Tensor&, Tensor&)> kernel::pow{"pow"};
TESSERA_KERNEL(pow_scalar, cpu, pow_scalar_cpu);
TESSERA_KERNEL(pow, cpu, pow_cpu);

Tensor sqrt(const Tensor& x) { return detail::pointwise<SqrtRule>(x); }
Tensor rsqrt(const Tensor& x) { return detail::pointwise<RsqrtRule>(x); }
Tensor square(const Tensor& x) { return detail::pointwise<SquareRule>(x); }
Tensor pow(const Tensor& x, double exponent) { return apply(PowScalarOp{exponent}, x); }
Tensor pow(const Tensor& x, const Tensor& exponent) { return apply(PowOp{}, x, exponent); }

}  // namespace tessera

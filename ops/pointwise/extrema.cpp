#include "ops/pointwise/extrema.h"

#include <limits>

#include "ops/pointwise/pointwise_op.h"
#include "ops/reduce/sum.h"

namespace tessera {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

struct ClampRule : detail::PointwiseRule<kernel::clamp, kernel::clamp_grad, detail::From::input> {};

template <class Formula>
void extremum_cpu(const Tensor& a, const Tensor& b, Tensor& y) {
  dispatch_number(y.dtype(), "minimum", [&]<class T>() { cpu::map<T, T, T>(y, Formula{}, a, b); });
}

void share_of_larger_cpu(const Tensor& a, const Tensor& b, Tensor& y) {
  dispatch_floating(y.dtype(), "maximum",
                    [&]<class T>() { cpu::map<T, T, T>(y, math::ShareOfLarger{}, a, b); });
}

// Piecewise constant in a and b, so it is not recorded.
Tensor share_of_larger(const Tensor& a, const Tensor& b) {
  Tensor y = empty(broadcast_shapes(a.shape(), b.shape(), "maximum"), a.dtype(), a.device());
  kernel::share_of_larger(a.device(), a, b, y);
  return y;
}

template <bool kLarger>
struct ExtremumOp {
  static constexpr std::string_view name = kLarger ? "maximum" : "minimum";
  Tensor forward(Ctx& ctx, const Tensor& a, const Tensor& b) const {
    TESSERA_CHECK(DTypeError, a.dtype() == b.dtype(), name, ": dtypes ", a.dtype(), " and ",
                  b.dtype(), " differ; convert one with cast()");
    TESSERA_CHECK(DeviceError, a.device() == b.device(), name, ": devices ", a.device(), " and ",
                  b.device(), " differ");
    ctx.save({a, b});
    Tensor y = empty(broadcast_shapes(a.shape(), b.shape(), name), a.dtype(), a.device());
    (kLarger ? kernel::maximum : kernel::minimum)(y.device(), a, b, y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    const Tensor a = ctx.saved(0), b = ctx.saved(1);
    const Tensor share = kLarger ? share_of_larger(a, b) : share_of_larger(b, a);
    return {ctx.needs_grad(0) ? sum_to(g * share, a.shape()) : Tensor(),
            ctx.needs_grad(1) ? sum_to(g * (1.0 - share), b.shape()) : Tensor()};
  }
};

}  // namespace

TESSERA_POINTWISE(clamp, math::Clamp);
constinit KernelSlot<void(const Tensor&, const Tensor&, Tensor&)> kernel::minimum{"minimum"};
constinit KernelSlot<void(const Tensor&, const Tensor&, Tensor&)> kernel::maximum{"maximum"};
constinit KernelSlot<void(const Tensor&, const Tensor&, Tensor&)> kernel::share_of_larger{
    "share_of_larger"};
TESSERA_KERNEL(minimum, cpu, extremum_cpu<math::Minimum>);
TESSERA_KERNEL(maximum, cpu, extremum_cpu<math::Maximum>);
TESSERA_KERNEL(share_of_larger, cpu, share_of_larger_cpu);

Tensor clamp(const Tensor& x, double low, double high) {
  TESSERA_CHECK(ValueError, low <= high, "clamp: low ", low, " is above high ", high);
  return detail::pointwise<ClampRule>(x, {low, high});
}
Tensor clamp_min(const Tensor& x, double low) { return clamp(x, low, kInf); }
Tensor clamp_max(const Tensor& x, double high) { return clamp(x, -kInf, high); }
Tensor minimum(const Tensor& a, const Tensor& b) { return apply(ExtremumOp<false>{}, a, b); }
Tensor maximum(const Tensor& a, const Tensor& b) { return apply(ExtremumOp<true>{}, a, b); }

}  // namespace tessera

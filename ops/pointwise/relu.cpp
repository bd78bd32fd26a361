#include "ops/pointwise/relu.h"

#include "ops/index/view.h"
#include "ops/pointwise/comparison.h"
#include "ops/pointwise/exponential.h"
#include "ops/pointwise/extrema.h"
#include "ops/pointwise/pointwise_op.h"
#include "ops/pointwise/where.h"
#include "ops/reduce/sum.h"

namespace tessera {
namespace {

struct ReluRule : detail::PointwiseRule<kernel::relu, kernel::relu_grad, detail::From::output> {};

struct LeakyReluRule
    : detail::PointwiseRule<kernel::leaky_relu, kernel::leaky_relu_grad, detail::From::input> {};

struct HardtanhRule
    : detail::PointwiseRule<kernel::hardtanh, kernel::hardtanh_grad, detail::From::input> {};

struct EluRule : detail::PointwiseRule<kernel::elu, kernel::elu_grad, detail::From::input> {
  Tensor second(const Tensor& gg, const Tensor& x) const {
    return gg *
           where(gt(x, 0.0), zeros({}, x.dtype(), x.device()), exp(clamp_max(x, 0.0)) * args.a);
  }
};

// weight is a scalar or as long as x's last axis.
struct PreluOp {
  static constexpr std::string_view name = "prelu";
  Tensor forward(Ctx& ctx, const Tensor& x, const Tensor& weight) const {
    ctx.save({x, weight});
    Tensor y = empty_like(x);
    kernel::prelu(x.device(), x, weight, y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    const Tensor x = ctx.saved(0), weight = ctx.saved(1);
    const Tensor one = ones({}, x.dtype(), x.device());
    return {ctx.needs_grad(0) ? g * where(gt(x, 0.0), one, weight) : Tensor(),
            ctx.needs_grad(1) ? sum_to(g * clamp_max(x, 0.0), weight.shape()) : Tensor()};
  }
};

void prelu_cpu(const Tensor& x, const Tensor& weight, Tensor& y) {
  dispatch_floating(y.dtype(), "prelu", [&]<class T>() {
    using C = compute_t<T>;
    cpu::map<T, T, T>(
        y, [](C v, C w) { return v > C(0) ? v : v * w; }, x, weight);
  });
}

}  // namespace

TESSERA_POINTWISE(relu, math::Relu);
TESSERA_POINTWISE(leaky_relu, math::LeakyRelu);
TESSERA_POINTWISE(hardtanh, math::Hardtanh);
TESSERA_POINTWISE(elu, math::Elu);
constinit KernelSlot<void(const Tensor&, const Tensor&, Tensor&)> kernel::prelu{"prelu"};
TESSERA_KERNEL(prelu, cpu, prelu_cpu);

Tensor relu(const Tensor& x) { return detail::pointwise<ReluRule>(x); }
Tensor relu6(const Tensor& x) { return detail::pointwise<HardtanhRule>(x, {0.0, 6.0}); }
Tensor hardtanh(const Tensor& x, double low, double high) {
  TESSERA_CHECK(ValueError, low <= high, "hardtanh: low ", low, " is above high ", high);
  return detail::pointwise<HardtanhRule>(x, {low, high});
}
Tensor leaky_relu(const Tensor& x, double slope) {
  return detail::pointwise<LeakyReluRule>(x, {slope, 0.0});
}
Tensor elu(const Tensor& x, double alpha) { return detail::pointwise<EluRule>(x, {alpha, 0.0}); }

Tensor prelu(const Tensor& x, const Tensor& weight) {
  const bool fits =
      weight.numel() == 1 || (weight.rank() == 1 && x.rank() >= 1 && weight.size(0) == x.size(-1));
  TESSERA_CHECK(ShapeError, fits, "prelu: weight ", weight.shape(),
                " is neither one element nor one per channel of ", x.shape());
  TESSERA_CHECK(DTypeError, is_floating(x.dtype()) && x.dtype() == weight.dtype(),
                "prelu: needs one floating dtype, got ", x.dtype(), " ", x.shape(),
                " and a weight of ", weight.dtype());
  TESSERA_CHECK(DeviceError, x.device() == weight.device(), "prelu: devices ", x.device(), " and ",
                weight.device(), " differ");
  return apply(PreluOp{}, x, weight.numel() == 1 ? reshape(weight, {}) : weight);
}

}  // namespace tessera

#include "ops/pointwise/swish.h"

#include "ops/index/view.h"
#include "ops/pointwise/comparison.h"
#include "ops/pointwise/logistic.h"
#include "ops/pointwise/pointwise_op.h"

namespace tessera {
namespace {

// s (1 - s) (2 + x (1 - 2 s)).
struct SiluRule {
  static constexpr std::string_view name = "silu", grad_name = "silu_grad";
  static constexpr auto* slot = &kernel::silu;
  static constexpr auto* grad_slot = &kernel::silu_grad;
  static constexpr bool from_output = false;
  PointwiseArgs args;
  Tensor second(const Tensor& gg, const Tensor& x) const {
    const Tensor s = sigmoid(x);
    return gg * (s * (1.0 - s)) * (x * affine(s, -2.0, 1.0) + 2.0);
  }
};

// t = tanh(softplus(x)), s = sigmoid(x): s (1 - t^2) (2 + x (1 - s) - 2 x s t).
struct MishRule {
  static constexpr std::string_view name = "mish", grad_name = "mish_grad";
  static constexpr auto* slot = &kernel::mish;
  static constexpr auto* grad_slot = &kernel::mish_grad;
  static constexpr bool from_output = false;
  PointwiseArgs args;
  Tensor second(const Tensor& gg, const Tensor& x) const {
    const Tensor s = sigmoid(x), t = tanh(softplus(x));
    return gg * s * affine(t * t, -1.0, 1.0) * (x * (1.0 - s - s * t * 2.0) + 2.0);
  }
};

struct HardswishRule {
  static constexpr std::string_view name = "hardswish", grad_name = "hardswish_grad";
  static constexpr auto* slot = &kernel::hardswish;
  static constexpr auto* grad_slot = &kernel::hardswish_grad;
  static constexpr bool from_output = false;
  PointwiseArgs args;
  Tensor second(const Tensor& gg, const Tensor& x) const {
    const Tensor inside = logical_and(gt(x, -3.0), lt(x, 3.0));
    return gg * cast(inside, x.dtype()) * (1.0 / 3);
  }
};

struct HardsigmoidRule {
  static constexpr std::string_view name = "hardsigmoid", grad_name = "hardsigmoid_grad";
  static constexpr auto* slot = &kernel::hardsigmoid;
  static constexpr auto* grad_slot = &kernel::hardsigmoid_grad;
  static constexpr bool from_output = false;
  PointwiseArgs args;
};

}  // namespace

constinit PointwiseSlot kernel::silu{"silu"};
constinit PointwiseGradSlot kernel::silu_grad{"silu_grad"};
constinit PointwiseSlot kernel::mish{"mish"};
constinit PointwiseGradSlot kernel::mish_grad{"mish_grad"};
constinit PointwiseSlot kernel::hardswish{"hardswish"};
constinit PointwiseGradSlot kernel::hardswish_grad{"hardswish_grad"};
constinit PointwiseSlot kernel::hardsigmoid{"hardsigmoid"};
constinit PointwiseGradSlot kernel::hardsigmoid_grad{"hardsigmoid_grad"};
TESSERA_KERNEL(silu, cpu, detail::pointwise_cpu<math::Silu>);
TESSERA_KERNEL(silu_grad, cpu, detail::pointwise_grad_cpu<math::Silu>);
TESSERA_KERNEL(mish, cpu, detail::pointwise_cpu<math::Mish>);
TESSERA_KERNEL(mish_grad, cpu, detail::pointwise_grad_cpu<math::Mish>);
TESSERA_KERNEL(hardswish, cpu, detail::pointwise_cpu<math::Hardswish>);
TESSERA_KERNEL(hardswish_grad, cpu, detail::pointwise_grad_cpu<math::Hardswish>);
TESSERA_KERNEL(hardsigmoid, cpu, detail::pointwise_cpu<math::Hardsigmoid>);
TESSERA_KERNEL(hardsigmoid_grad, cpu, detail::pointwise_grad_cpu<math::Hardsigmoid>);

Tensor silu(const Tensor& x) { return detail::pointwise<SiluRule>(x); }
Tensor mish(const Tensor& x) { return detail::pointwise<MishRule>(x); }
Tensor hardswish(const Tensor& x) { return detail::pointwise<HardswishRule>(x); }
Tensor hardsigmoid(const Tensor& x) { return detail::pointwise<HardsigmoidRule>(x); }

}  // namespace tessera

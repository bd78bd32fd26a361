#include "ops/pointwise/rounding.h"

#include "ops/pointwise/pointwise_op.h"

namespace tessera {
namespace {

struct AbsRule {
  static constexpr std::string_view name = "abs", grad_name = "abs_grad";
  static constexpr auto* slot = &kernel::abs;
  static constexpr auto* grad_slot = &kernel::abs_grad;
  static constexpr bool from_output = false;
  PointwiseArgs args;
};

// A step function: its gradient is zero wherever it exists.
template <const PointwiseSlot& slot>
struct StepOp {
  static constexpr std::string_view name = "step";
  Tensor forward(Ctx&, const Tensor& x) const {
    TESSERA_CHECK(DTypeError, is_floating(x.dtype()), slot.name(), ": needs a floating dtype, got ",
                  x.dtype(), " of shape ", x.shape());
    Tensor y = empty_like(x);
    slot.get(x.device())(x, {}, y);
    return y;
  }
  Grads backward(const Ctx&, const Tensor& g) const { return {zeros_like(g)}; }
};

}  // namespace

constinit PointwiseSlot kernel::abs{"abs"};
constinit PointwiseGradSlot kernel::abs_grad{"abs_grad"};
constinit PointwiseSlot kernel::sign{"sign"};
constinit PointwiseSlot kernel::floor{"floor"};
constinit PointwiseSlot kernel::ceil{"ceil"};
constinit PointwiseSlot kernel::round{"round"};
TESSERA_KERNEL(abs, cpu, detail::pointwise_cpu<math::Abs>);
TESSERA_KERNEL(abs_grad, cpu, detail::pointwise_grad_cpu<math::Abs>);
TESSERA_KERNEL(sign, cpu, detail::pointwise_cpu<math::Sign>);
TESSERA_KERNEL(floor, cpu, detail::pointwise_cpu<math::Floor>);
TESSERA_KERNEL(ceil, cpu, detail::pointwise_cpu<math::Ceil>);
TESSERA_KERNEL(round, cpu, detail::pointwise_cpu<math::Round>);

Tensor abs(const Tensor& x) { return detail::pointwise<AbsRule>(x); }
Tensor sign(const Tensor& x) { return apply(StepOp<kernel::sign>{}, x); }
Tensor floor(const Tensor& x) { return apply(StepOp<kernel::floor>{}, x); }
Tensor ceil(const Tensor& x) { return apply(StepOp<kernel::ceil>{}, x); }
Tensor round(const Tensor& x) { return apply(StepOp<kernel::round>{}, x); }

}  // namespace tessera

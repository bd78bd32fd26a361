#include "ops/pointwise/rounding.h"

#include "ops/pointwise/pointwise_op.h"

namespace tessera {
namespace {

struct AbsRule : detail::PointwiseRule<kernel::abs, kernel::abs_grad, detail::From::input> {};

// A step function: its gradient is zero wherever it exists.
template <const PointwiseSlot& slot>
struct StepOp {
  static inline const std::string_view name = slot.name();
  Tensor forward(Ctx&, const Tensor& x) const {
    TESSERA_CHECK(DTypeError, is_floating(x.dtype()), name, ": needs a floating dtype, got ",
                  x.dtype(), " of shape ", x.shape());
    Tensor y = empty_like(x);
    slot(x.device(), x, {}, y);
    return y;
  }
  Grads backward(const Ctx&, const Tensor& g) const { return {zeros_like(g)}; }
};

}  // namespace

TESSERA_POINTWISE(abs, math::Abs);
constinit PointwiseSlot kernel::sign{"sign"};
constinit PointwiseSlot kernel::floor{"floor"};
constinit PointwiseSlot kernel::ceil{"ceil"};
constinit PointwiseSlot kernel::round{"round"};
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

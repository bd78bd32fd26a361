#include "ops/pointwise/swish.h"

#include "ops/index/view.h"
#include "ops/pointwise/comparison.h"
#include "ops/pointwise/logistic.h"
#include "ops/pointwise/pointwise_op.h"

namespace tessera {
namespace {

// s (1 - s) (2 + x (1 - 2 s)).
struct SiluRule : detail::PointwiseRule<kernel::silu, kernel::silu_grad, detail::From::input> {
  Tensor second(const Tensor& gg, const Tensor& x) const {
    const Tensor s = sigmoid(x);
    return gg * (s * (1.0 - s)) * (x * affine(s, -2.0, 1.0) + 2.0);
  }
};

// t = tanh(softplus(x)), s = sigmoid(x): s (1 - t^2) (2 + x (1 - s) - 2 x s t).
struct MishRule : detail::PointwiseRule<kernel::mish, kernel::mish_grad, detail::From::input> {
  Tensor second(const Tensor& gg, const Tensor& x) const {
    const Tensor s = sigmoid(x), t = tanh(softplus(x));
    return gg * s * affine(t * t, -1.0, 1.0) * (x * (1.0 - s - s * t * 2.0) + 2.0);
  }
};

struct HardswishRule
    : detail::PointwiseRule<kernel::hardswish, kernel::hardswish_grad, detail::From::input> {
  Tensor second(const Tensor& gg, const Tensor& x) const {
    const Tensor inside = logical_and(gt(x, -3.0), lt(x, 3.0));
    return gg * cast(inside, x.dtype()) * (1.0 / 3);
  }
};

struct HardsigmoidRule
    : detail::PointwiseRule<kernel::hardsigmoid, kernel::hardsigmoid_grad, detail::From::input> {};

}  // namespace

TESSERA_POINTWISE(silu, math::Silu);
TESSERA_POINTWISE(mish, math::Mish);
TESSERA_POINTWISE(hardswish, math::Hardswish);
TESSERA_POINTWISE(hardsigmoid, math::Hardsigmoid);

Tensor silu(const Tensor& x) { return detail::pointwise<SiluRule>(x); }
Tensor mish(const Tensor& x) { return detail::pointwise<MishRule>(x); }
Tensor hardswish(const Tensor& x) { return detail::pointwise<HardswishRule>(x); }
Tensor hardsigmoid(const Tensor& x) { return detail::pointwise<HardsigmoidRule>(x); }

}  // namespace tessera

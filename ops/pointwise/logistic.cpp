#include "ops/pointwise/logistic.h"

#include "ops/index/view.h"
#include "ops/pointwise/pointwise_op.h"

namespace tessera {
namespace {

struct TanhRule : detail::PointwiseRule<kernel::tanh, kernel::tanh_grad, detail::From::output> {
  Tensor second(const Tensor& gg, const Tensor& y) const { return gg * y * -2.0; }
};

struct SigmoidRule
    : detail::PointwiseRule<kernel::sigmoid, kernel::sigmoid_grad, detail::From::output> {
  Tensor second(const Tensor& gg, const Tensor& y) const { return gg * affine(y, -2.0, 1.0); }
};

struct LogSigmoidRule
    : detail::PointwiseRule<kernel::log_sigmoid, kernel::log_sigmoid_grad, detail::From::input> {
  Tensor second(const Tensor& gg, const Tensor& x) const {
    const Tensor s = sigmoid(x);
    return -(gg * (s * (1.0 - s)));
  }
};

struct SoftplusRule
    : detail::PointwiseRule<kernel::softplus, kernel::softplus_grad, detail::From::input> {
  Tensor second(const Tensor& gg, const Tensor& x) const {
    // Above the threshold s (1 - s) is below e^-threshold, the error the identity makes anyway.
    const Tensor s = sigmoid(x * args.a);
    return gg * (s * (1.0 - s)) * args.a;
  }
};

}  // namespace

TESSERA_POINTWISE(tanh, math::Tanh);
TESSERA_POINTWISE(sigmoid, math::Sigmoid);
TESSERA_POINTWISE(log_sigmoid, math::LogSigmoid);
TESSERA_POINTWISE(softplus, math::Softplus);

Tensor tanh(const Tensor& x) { return detail::pointwise<TanhRule>(x); }
Tensor sigmoid(const Tensor& x) { return detail::pointwise<SigmoidRule>(x); }
Tensor log_sigmoid(const Tensor& x) { return detail::pointwise<LogSigmoidRule>(x); }
Tensor softplus(const Tensor& x, double beta, double threshold) {
  TESSERA_CHECK(ValueError, beta > 0, "softplus: beta must be positive, got ", beta);
  return detail::pointwise<SoftplusRule>(x, {beta, threshold});
}
Tensor glu(const Tensor& x, int64_t axis) {
  const int a = normalize_axis(axis, x.rank(), "glu");
  const int64_t size = x.shape()[a], half = size / 2;
  TESSERA_CHECK(ShapeError, size % 2 == 0, "glu: axis ", a, " of ", x.shape(), " is odd");
  return slice(x, a, 0, half) * sigmoid(slice(x, a, half, size));
}

}  // namespace tessera

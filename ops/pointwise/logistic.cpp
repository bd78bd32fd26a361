#include "ops/pointwise/logistic.h"

#include "ops/index/view.h"
#include "ops/pointwise/pointwise_op.h"

namespace tessera {
namespace {

struct TanhRule {
  static constexpr std::string_view name = "tanh", grad_name = "tanh_grad";
  static constexpr auto* slot = &kernel::tanh;
  static constexpr auto* grad_slot = &kernel::tanh_grad;
  static constexpr bool from_output = true;
  PointwiseArgs args;
  Tensor second(const Tensor& gg, const Tensor& y) const { return gg * y * -2.0; }
};

struct SigmoidRule {
  static constexpr std::string_view name = "sigmoid", grad_name = "sigmoid_grad";
  static constexpr auto* slot = &kernel::sigmoid;
  static constexpr auto* grad_slot = &kernel::sigmoid_grad;
  static constexpr bool from_output = true;
  PointwiseArgs args;
  Tensor second(const Tensor& gg, const Tensor& y) const { return gg * affine(y, -2.0, 1.0); }
};

struct LogSigmoidRule {
  static constexpr std::string_view name = "log_sigmoid", grad_name = "log_sigmoid_grad";
  static constexpr auto* slot = &kernel::log_sigmoid;
  static constexpr auto* grad_slot = &kernel::log_sigmoid_grad;
  static constexpr bool from_output = false;
  PointwiseArgs args;
  Tensor second(const Tensor& gg, const Tensor& x) const {
    const Tensor s = sigmoid(x);
    return -(gg * (s * (1.0 - s)));
  }
};

struct SoftplusRule {
  static constexpr std::string_view name = "softplus", grad_name = "softplus_grad";
  static constexpr auto* slot = &kernel::softplus;
  static constexpr auto* grad_slot = &kernel::softplus_grad;
  static constexpr bool from_output = false;
  PointwiseArgs args;
  Tensor second(const Tensor& gg, const Tensor& x) const {
    // Above the threshold s (1 - s) is below e^-threshold, the error the identity makes anyway.
    const Tensor s = sigmoid(x * args.a);
    return gg * (s * (1.0 - s)) * args.a;
  }
};

}  // namespace

constinit PointwiseSlot kernel::tanh{"tanh"};
constinit PointwiseGradSlot kernel::tanh_grad{"tanh_grad"};
constinit PointwiseSlot kernel::sigmoid{"sigmoid"};
constinit PointwiseGradSlot kernel::sigmoid_grad{"sigmoid_grad"};
constinit PointwiseSlot kernel::log_sigmoid{"log_sigmoid"};
constinit PointwiseGradSlot kernel::log_sigmoid_grad{"log_sigmoid_grad"};
constinit PointwiseSlot kernel::softplus{"softplus"};
constinit PointwiseGradSlot kernel::softplus_grad{"softplus_grad"};
TESSERA_KERNEL(tanh, cpu, detail::pointwise_cpu<math::Tanh>);
TESSERA_KERNEL(tanh_grad, cpu, detail::pointwise_grad_cpu<math::Tanh>);
TESSERA_KERNEL(sigmoid, cpu, detail::pointwise_cpu<math::Sigmoid>);
TESSERA_KERNEL(sigmoid_grad, cpu, detail::pointwise_grad_cpu<math::Sigmoid>);
TESSERA_KERNEL(log_sigmoid, cpu, detail::pointwise_cpu<math::LogSigmoid>);
TESSERA_KERNEL(log_sigmoid_grad, cpu, detail::pointwise_grad_cpu<math::LogSigmoid>);
TESSERA_KERNEL(softplus, cpu, detail::pointwise_cpu<math::Softplus>);
TESSERA_KERNEL(softplus_grad, cpu, detail::pointwise_grad_cpu<math::Softplus>);

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

#include "ops/pointwise/gelu.h"

#include "ops/pointwise/exponential.h"
#include "ops/pointwise/logistic.h"
#include "ops/pointwise/pointwise_op.h"

namespace tessera {
namespace {

struct ErfRule {
  static constexpr std::string_view name = "erf", grad_name = "erf_grad";
  static constexpr auto* slot = &kernel::erf;
  static constexpr auto* grad_slot = &kernel::erf_grad;
  static constexpr bool from_output = false;
  PointwiseArgs args;
  Tensor second(const Tensor& gg, const Tensor& x) const {
    return gg * x * exp(-(x * x)) * (-4.0 / std::sqrt(M_PI));
  }
};

// phi(x) (2 - x^2), phi the normal density.
struct GeluRule {
  static constexpr std::string_view name = "gelu", grad_name = "gelu_grad";
  static constexpr auto* slot = &kernel::gelu;
  static constexpr auto* grad_slot = &kernel::gelu_grad;
  static constexpr bool from_output = false;
  PointwiseArgs args;
  Tensor second(const Tensor& gg, const Tensor& x) const {
    const Tensor x2 = x * x;
    return gg * exp(x2 * -0.5) * affine(x2, -1.0, 2.0) * (1 / std::sqrt(2 * M_PI));
  }
};

// y = x (1 + tanh u) / 2, u = k (x + c x^3): y'' = (1 - t^2) (u' + x (u'' / 2 - t u'^2)).
struct GeluTanhRule {
  static constexpr std::string_view name = "gelu_tanh", grad_name = "gelu_tanh_grad";
  static constexpr auto* slot = &kernel::gelu_tanh;
  static constexpr auto* grad_slot = &kernel::gelu_tanh_grad;
  static constexpr bool from_output = false;
  PointwiseArgs args;
  Tensor second(const Tensor& gg, const Tensor& x) const {
    constexpr double c = 0.044715;
    const double k = std::sqrt(2 / M_PI);
    const Tensor x2 = x * x, t = tanh(x * affine(x2, k * c, k));
    const Tensor du = affine(x2, 3 * k * c, k);
    return gg * affine(t * t, -1.0, 1.0) * (du + x * (x * (3 * k * c) - t * du * du));
  }
};

}  // namespace

constinit PointwiseSlot kernel::erf{"erf"};
constinit PointwiseGradSlot kernel::erf_grad{"erf_grad"};
constinit PointwiseSlot kernel::gelu{"gelu"};
constinit PointwiseGradSlot kernel::gelu_grad{"gelu_grad"};
constinit PointwiseSlot kernel::gelu_tanh{"gelu_tanh"};
constinit PointwiseGradSlot kernel::gelu_tanh_grad{"gelu_tanh_grad"};
TESSERA_KERNEL(erf, cpu, detail::pointwise_cpu<math::Erf>);
TESSERA_KERNEL(erf_grad, cpu, detail::pointwise_grad_cpu<math::Erf>);
TESSERA_KERNEL(gelu, cpu, detail::pointwise_cpu<math::Gelu>);
TESSERA_KERNEL(gelu_grad, cpu, detail::pointwise_grad_cpu<math::Gelu>);
TESSERA_KERNEL(gelu_tanh, cpu, detail::pointwise_cpu<math::GeluTanh>);
TESSERA_KERNEL(gelu_tanh_grad, cpu, detail::pointwise_grad_cpu<math::GeluTanh>);

Tensor erf(const Tensor& x) { return detail::pointwise<ErfRule>(x); }
Tensor gelu(const Tensor& x, GeluForm form) {
  return form == GeluForm::erf ? detail::pointwise<GeluRule>(x)
                               : detail::pointwise<GeluTanhRule>(x);
}

}  // namespace tessera

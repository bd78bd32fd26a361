#include "ops/pointwise/gelu.h"

#include "ops/pointwise/exponential.h"
#include "ops/pointwise/logistic.h"
#include "ops/pointwise/pointwise_op.h"

namespace tessera {
namespace {

struct ErfRule : detail::PointwiseRule<kernel::erf, kernel::erf_grad, detail::From::input> {
  Tensor second(const Tensor& gg, const Tensor& x) const {
    return gg * x * exp(-(x * x)) * (-4.0 / std::sqrt(M_PI));
  }
};

// phi(x) (2 - x^2), phi the normal density.
struct GeluRule : detail::PointwiseRule<kernel::gelu, kernel::gelu_grad, detail::From::input> {
  Tensor second(const Tensor& gg, const Tensor& x) const {
    const Tensor x2 = x * x;
    return gg * exp(x2 * -0.5) * affine(x2, -1.0, 2.0) * (1 / std::sqrt(2 * M_PI));
  }
};

// y = x (1 + tanh u) / 2, u = k (x + c x^3): y'' = (1 - t^2) (u' + x (u'' / 2 - t u'^2)).
struct GeluTanhRule
    : detail::PointwiseRule<kernel::gelu_tanh, kernel::gelu_tanh_grad, detail::From::input> {
  Tensor second(const Tensor& gg, const Tensor& x) const {
    constexpr double c = 0.044715;
    const double k = std::sqrt(2 / M_PI);
    const Tensor x2 = x * x, t = tanh(x * affine(x2, k * c, k));
    const Tensor du = affine(x2, 3 * k * c, k);
    return gg * affine(t * t, -1.0, 1.0) * (du + x * (x * (3 * k * c) - t * du * du));
  }
};

}  // namespace

TESSERA_POINTWISE(erf, math::Erf);
TESSERA_POINTWISE(gelu, math::Gelu);
TESSERA_POINTWISE(gelu_tanh, math::GeluTanh);

Tensor erf(const Tensor& x) { return detail::pointwise<ErfRule>(x); }
Tensor gelu(const Tensor& x, GeluForm form) {
  return form == GeluForm::erf ? detail::pointwise<GeluRule>(x)
                               : detail::pointwise<GeluTanhRule>(x);
}

}  // namespace tessera

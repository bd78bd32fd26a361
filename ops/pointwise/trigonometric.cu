#include "ops/pointwise/trigonometric.h"

#include "ops/pointwise/pointwise_cuda.cuh"

namespace tessera {
namespace {

// The float polynomials serve |angle| < kSinCosLimit, float64 what lies beyond.
template <class Formula>
struct WideRange {
  template <class C>
  TESSERA_HD C operator()(C angle) const {
    if (math::abs(angle) < C(math::kSinCosLimit)) return Formula::value(angle, math::Args<C>{});
    return static_cast<C>(Formula::value(static_cast<double>(angle), math::Args<double>{}));
  }
  template <class C>
  TESSERA_HD C operator()(C g, C angle) const {
    if (math::abs(angle) < C(math::kSinCosLimit)) return Formula::grad(g, angle, math::Args<C>{});
    return static_cast<C>(
        Formula::grad(static_cast<double>(g), static_cast<double>(angle), math::Args<double>{}));
  }
};

template <class Formula>
void sin_cos_cuda(const Tensor& x, PointwiseArgs, Tensor& y) {
  dispatch_floating(y.dtype(), "sin",
                    [&]<class T>() { cuda::map<T, T>(y, WideRange<Formula>{}, x); });
}

template <class Formula>
void sin_cos_grad_cuda(const Tensor& g, const Tensor& x, PointwiseArgs, Tensor& gx) {
  dispatch_floating(gx.dtype(), "sin_grad",
                    [&]<class T>() { cuda::map<T, T, T>(gx, WideRange<Formula>{}, g, x); });
}

TESSERA_KERNEL(sin, cuda, sin_cos_cuda<math::Sin>);
TESSERA_KERNEL(sin_grad, cuda, sin_cos_grad_cuda<math::Sin>);
TESSERA_KERNEL(cos, cuda, sin_cos_cuda<math::Cos>);
TESSERA_KERNEL(cos_grad, cuda, sin_cos_grad_cuda<math::Cos>);
TESSERA_POINTWISE_CUDA(asin, math::Asin);
TESSERA_POINTWISE_CUDA(acos, math::Acos);
TESSERA_POINTWISE_CUDA(atan, math::Atan);

}  // namespace
}  // namespace tessera

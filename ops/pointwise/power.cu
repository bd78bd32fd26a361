#include "ops/pointwise/power.h"

#include "ops/pointwise/pointwise_cuda.cuh"
#include "ops/pointwise/power_formulas.h"

namespace tessera {
namespace {

// The powers are those of the CUDA library: the CPU's are made for loops that are vectorised.
struct Power {
  template <class C>
  TESSERA_HD C operator()(C v, C exponent) const {
    return std::pow(v, exponent);
  }
};
template <class C>
struct PowerOf {
  C exponent;
  TESSERA_HD C operator()(C v) const { return std::pow(v, exponent); }
};

void pow_scalar_cuda(const Tensor& x, double exponent, Tensor& y) {
  dispatch_floating(y.dtype(), "pow", [&]<class T>() {
    using C = compute_t<T>;
    const auto map = [&](const auto& f) { cuda::map<T, T>(y, f, x); };
    if (!math::with_fixed_power(exponent, map)) map(PowerOf<C>{static_cast<C>(exponent)});
  });
}

void pow_cuda(const Tensor& x, const Tensor& exponent, Tensor& y) {
  dispatch_floating(y.dtype(), "pow",
                    [&]<class T>() { cuda::map<T, T, T>(y, Power{}, x, exponent); });
}

TESSERA_POINTWISE_CUDA(sqrt, math::Sqrt);
TESSERA_POINTWISE_CUDA(rsqrt, math::Rsqrt);
TESSERA_POINTWISE_CUDA(square, math::Square);
TESSERA_KERNEL(pow_scalar, cuda, pow_scalar_cuda);
TESSERA_KERNEL(pow, cuda, pow_cuda);

}  // namespace
}  // namespace tessera

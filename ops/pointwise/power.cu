#include "ops/pointwise/power.h"

#include "ops/pointwise/pointwise_cuda.cuh"

namespace tessera {
namespace {

// The powers that need no pow, as the CPU takes them; 0.5 and -0.5 in units of a half.
template <int kHalves>
struct FixedPower {
  template <class C>
  TESSERA_HD C operator()(C v) const {
    if constexpr (kHalves == 0) return C(1);
    if constexpr (kHalves == 2) return v;
    if constexpr (kHalves == 4) return v * v;
    if constexpr (kHalves == 6) return v * v * v;
    if constexpr (kHalves == -2) return C(1) / v;
    if constexpr (kHalves == -4) return C(1) / (v * v);
    // + 0 turns -0 into 0, whose powers 0.5 and -0.5 are 0 and inf
    if constexpr (kHalves == 1) return math::sqrt(v + C(0));
    if constexpr (kHalves == -1) return C(1) / math::sqrt(v + C(0));
  }
};

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
    const bool fixed = [&]<int... kHalves>(std::integer_sequence<int, kHalves...>) {
      return ((2 * exponent == kHalves ? (cuda::map<T, T>(y, FixedPower<kHalves>{}, x), true)
                                       : false) ||
              ...);
    }
    (std::integer_sequence<int, 0, 2, 4, 6, -2, -4, 1, -1>{});
    if (!fixed) cuda::map<T, T>(y, PowerOf<C>{static_cast<C>(exponent)}, x);
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

#pragma once

#include <utility>

#include "ops/pointwise/elementary.h"

/// Powers that need no pow, for the CPU loops and the CUDA kernels.
namespace tessera::math {

/// v to the power kHalves / 2.
template <int kHalves>
struct FixedPower {
  template <class C>
  TESSERA_HD C operator()([[maybe_unused]] C v) const {
    if constexpr (kHalves == 0) return C(1);
    if constexpr (kHalves == 2) return v;
    if constexpr (kHalves == 4) return v * v;
    if constexpr (kHalves == 6) return v * v * v;
    if constexpr (kHalves == -2) return C(1) / v;
    if constexpr (kHalves == -4) return C(1) / (v * v);
    // + 0 turns -0 into 0, whose powers 0.5 and -0.5 are 0 and inf
    if constexpr (kHalves == 1) return sqrt(v + C(0));
    if constexpr (kHalves == -1) return C(1) / sqrt(v + C(0));
  }
};

/// fn(FixedPower of `exponent`) where there is one; whether there is.
template <class Fn>
bool with_fixed_power(double exponent, Fn&& fn) {
  const auto among = [&]<int... kHalves>(std::integer_sequence<int, kHalves...>) {
    return ((2 * exponent == kHalves ? (fn(FixedPower<kHalves>{}), true) : false) || ...);
  };
  return among(std::integer_sequence<int, 0, 2, 4, 6, -2, -4, 1, -1>{});
}

}  // namespace tessera::math

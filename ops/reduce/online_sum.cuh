#pragma once

#include <cmath>
#include <limits>

#include "cuda/device.h"
#include "ops/pointwise/elementary.h"

namespace tessera::cuda {

/// The maximum of some numbers and the sum of exp(v - maximum), kept up number by number: log sum
/// exp in one pass. Source: Milakov and Gimelshein, arXiv 1805.02867. NaN makes the sum NaN;
/// infinities make terms of 1 (themselves) or 0 (the others). S is the type of the sum.
template <class C, class S = C>
struct OnlineSum {
  C top;
  S sum;

  static __device__ __forceinline__ OnlineSum none() {
    return {-std::numeric_limits<C>::infinity(), S(0)};
  }
  __device__ __forceinline__ void add(C v) {
    const C e = v == top ? C(1) : math::exp(-math::abs(v - top));
    sum = v > top ? sum * e + S(1) : sum + e;
    top = v > top ? v : top;
  }
  template <class S2>
  __device__ __forceinline__ void merge(const OnlineSum<C, S2>& b) {
    const C e = b.top == top ? C(1) : math::exp(-math::abs(b.top - top));
    sum = b.top > top ? sum * S(e) + S(b.sum) : sum + S(b.sum) * S(e);
    top = b.top > top ? b.top : top;
  }
  /// The sum as softmax has it: exp(inf - inf) is NaN.
  __device__ __forceinline__ S strict_sum() const {
    return math::abs(top) == std::numeric_limits<C>::infinity()
               ? std::numeric_limits<S>::quiet_NaN()
               : sum;
  }
};

}  // namespace tessera::cuda

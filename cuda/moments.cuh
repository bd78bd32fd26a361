#pragma once

#include "cuda/device.h"
#include "tensor/dtype.h"

namespace tessera::cuda {

/// Sums of the distances of some numbers from the first of them. That is near enough to their mean
/// for little to cancel: (first - mean)^2 is at most their squared deviations.
template <class C>
struct ShiftedSums {
  C shift = 0, first = 0, second = 0;
  int count = 0;

  __device__ __forceinline__ void add(C v) {
    if (count == 0) shift = v;
    const C d = v - shift;
    first += d;
    second += d * d;
    ++count;
  }
};

/// How many numbers, their mean and the sum of their squared deviations. C is the type of the
/// numbers, in which weights are formed.
template <class C>
struct Moments {
  double count, mean, m2;

  Moments() = default;
  __device__ __forceinline__ explicit Moments(const ShiftedSums<C>& s)
      : count(s.count), mean(0), m2(0) {
    if (s.count == 0) return;
    const C distance = s.first / static_cast<C>(s.count);
    const C squares = s.second - s.first * distance;
    mean = static_cast<double>(s.shift) + static_cast<double>(distance);
    m2 = squares < C(0) ? 0.0 : static_cast<double>(squares);
  }
  /// Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing
  /// sample variances", 1979.
  __device__ __forceinline__ void merge(const Moments& b) {
    if (b.count == 0) return;
    const double n = count + b.count, d = b.mean - mean;
    const double share = static_cast<double>(static_cast<C>(b.count) / static_cast<C>(n));
    mean += d * share;
    m2 += b.m2 + d * d * (count * share);
    count = n;
  }
};

/// Reduces elements of type T to their Moments (see ops/reduce/reducers.h).
template <class T, class C = compute_t<T>>
struct MomentsReducer {
  using Lane = ShiftedSums<C>;
  using Wide = Moments<C>;
  __device__ Lane lane() const { return {}; }
  __device__ Wide wide() const { return Wide(Lane{}); }
  __device__ void step(Lane& a, compute_t<T> v, int64_t) const { a.add(static_cast<C>(v)); }
  __device__ void merge(Wide& a, const Wide& b) const { a.merge(b); }
  __device__ Wide finish(const Wide& a) const { return a; }
};

}  // namespace tessera::cuda

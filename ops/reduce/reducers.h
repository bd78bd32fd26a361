#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "tensor/dtype.h"
#include "tensor/macros.h"

/// What a reduction does with its elements, for the loops of the CPU (ops/cpu/reduce.h) and of the
/// GPU (cuda/reduce_tensor.cuh) alike. A reducer of elements T combines runs of them in a cheap
/// `Lane`, many at once, and the runs in a `Wide`:
///   using Lane, Wide;
///   Lane lane() const;  Wide wide() const;                  identities
///   void step(Lane&, compute_t<T> v, int64_t output) const  adds an element of the given output
///   void merge(Wide&, Wide) const                           a Lane converts to Wide
///   Out  finish(Wide) const
namespace tessera::reducers {

/// Floating elements are combined in their compute type, integers and bool in i64.
template <class T>
using lane_t = std::conditional_t<is_floating(dtype_of<T>()), compute_t<T>, int64_t>;
/// What the lanes of a sum are added in.
template <class T>
using wide_t = std::conditional_t<is_floating(dtype_of<T>()), double, int64_t>;

/// sum of v.
template <class T, class Result>
struct Sum {
  using Lane = lane_t<T>;
  using Wide = wide_t<T>;
  TESSERA_HD Lane lane() const { return Lane(0); }
  TESSERA_HD Wide wide() const { return Wide(0); }
  TESSERA_HD void step(Lane& a, compute_t<T> v, int64_t) const { a += static_cast<Lane>(v); }
  TESSERA_HD void merge(Wide& a, Wide b) const { a += b; }
  TESSERA_HD Result finish(Wide a) const { return static_cast<Result>(a); }
};

/// The largest or smallest; NaN if there is one.
template <class T, bool kLargest>
struct Extreme {
  using Lane = compute_t<T>;
  using Wide = compute_t<T>;
  TESSERA_HD Lane lane() const {
    using L = std::numeric_limits<Lane>;
    if constexpr (L::has_infinity)
      return kLargest ? -L::infinity() : L::infinity();
    else
      return kLargest ? L::lowest() : L::max();
  }
  TESSERA_HD Wide wide() const { return lane(); }
  TESSERA_HD void step(Lane& a, Lane v, int64_t) const {
    // NaN replaces anything and is replaced by NaN only.
    const bool better = kLargest ? v > a : v < a;
    a = (better | (v != v)) ? v : a;
  }
  TESSERA_HD void merge(Wide& a, Wide b) const { step(a, b, 0); }
  TESSERA_HD T finish(Wide a) const { return static_cast<T>(a); }
};

/// sqrt(sum of v^2).
template <class T>
struct Norm2 {
  using Lane = double;
  using Wide = double;
  TESSERA_HD double lane() const { return 0; }
  TESSERA_HD double wide() const { return 0; }
  TESSERA_HD void step(double& a, compute_t<T> v, int64_t) const {
    const double d = static_cast<double>(v);
    a += d * d;
  }
  TESSERA_HD void merge(double& a, double b) const { a += b; }
  TESSERA_HD T finish(double a) const {
    return static_cast<T>(static_cast<compute_t<T>>(std::sqrt(a)));
  }
};

/// product of v.
template <class T>
struct Product {
  using Lane = double;
  using Wide = double;
  TESSERA_HD double lane() const { return 1; }
  TESSERA_HD double wide() const { return 1; }
  TESSERA_HD void step(double& a, compute_t<T> v, int64_t) const { a *= static_cast<double>(v); }
  TESSERA_HD void merge(double& a, double b) const { a *= b; }
  TESSERA_HD T finish(double a) const { return static_cast<T>(static_cast<compute_t<T>>(a)); }
};

/// How many v are not 0.
template <class T>
struct Count {
  using Lane = int64_t;
  using Wide = int64_t;
  TESSERA_HD int64_t lane() const { return 0; }
  TESSERA_HD int64_t wide() const { return 0; }
  TESSERA_HD void step(int64_t& a, compute_t<T> v, int64_t) const { a += v != compute_t<T>(0); }
  TESSERA_HD void merge(int64_t& a, int64_t b) const { a += b; }
  TESSERA_HD int64_t finish(int64_t a) const { return a; }
};

}  // namespace tessera::reducers

#pragma once

#include <cstdint>
#include <type_traits>

#include "tensor/macros.h"

/// Scalar formulas shared by the CPU loops and the CUDA kernels. T is float or double (or an
/// integer type for arithmetic).
namespace tessera::math {

struct Add {
  template <class T>
  TESSERA_HD T operator()(T a, T b) const {
    return static_cast<T>(a + b);
  }
};
struct Sub {
  template <class T>
  TESSERA_HD T operator()(T a, T b) const {
    return static_cast<T>(a - b);
  }
};
struct Mul {
  template <class T>
  TESSERA_HD T operator()(T a, T b) const {
    return static_cast<T>(a * b);
  }
};
/// Integers truncate; the one quotient that does not fit, lowest / -1, wraps instead of trapping.
struct Div {
  template <class T>
  TESSERA_HD T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
      using U = std::make_unsigned_t<T>;
      if (b == T(-1)) return static_cast<T>(U(0) - static_cast<U>(a));
    }
    return static_cast<T>(a / b);
  }
};
/// A scalar in the type a kernel computes in. Integers wrap, as their products do: -1 is 255 in u8.
template <class C>
C scalar_as(double v) {
  if constexpr (std::is_floating_point_v<C>)
    return static_cast<C>(v);
  else
    return static_cast<C>(static_cast<int64_t>(v));
}

/// a or b.
struct Select {
  template <class T>
  TESSERA_HD T operator()(bool condition, T a, T b) const {
    return condition ? a : b;
  }
};
/// p * x + q * y.
template <class S>
struct Axpby {
  S p, q;
  TESSERA_HD S operator()(S x, S y) const { return static_cast<S>(p * x + q * y); }
};
/// scale / x.
template <class S>
struct Reciprocal {
  S scale;
  TESSERA_HD S operator()(S x) const { return scale / x; }
};
/// scale * x + shift.
template <class S>
struct Affine {
  S scale, shift;
  TESSERA_HD S operator()(S x) const { return scale * x + shift; }
};

}  // namespace tessera::math

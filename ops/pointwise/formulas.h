#pragma once

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
struct Div {
  template <class T>
  TESSERA_HD T operator()(T a, T b) const {
    return static_cast<T>(a / b);
  }
};
/// scale * x + shift.
template <class S>
struct Affine {
  S scale, shift;
  TESSERA_HD S operator()(S x) const { return scale * x + shift; }
};

}  // namespace tessera::math

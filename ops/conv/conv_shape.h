#pragma once

#include <limits>

#include "ops/conv/conv2d.h"
#include "tensor/macros.h"

/// What the convolution kernels of all devices share.
namespace tessera::conv {

/// One convolution with every size resolved.
struct ConvShape {
  int64_t n, h, w, c;  // input
  int64_t o, kh, kw;   // filters
  int64_t ho, wo;      // output
  int64_t sh, sw, ph, pw, dh, dw, groups;

  int64_t cg() const { return c / groups; }
  int64_t og() const { return o / groups; }
  bool operator==(const ConvShape&) const = default;
};
inline ConvShape make_shape(const Shape& x, const Shape& w, const Shape& y,
                            const Conv2dOptions& o) {
  return {x[0],        x[1],         x[2],         x[3],       w[0],       w[1],
          w[2],        y[1],         y[2],         o.stride.h, o.stride.w, o.padding.h,
          o.padding.w, o.dilation.h, o.dilation.w, o.groups};
}

/// Every activation of an epilogue is a clamp; bounds that do not bind are infinite.
template <class T>
struct Clamp {
  T low = -std::numeric_limits<T>::infinity(), high = std::numeric_limits<T>::infinity();

  Clamp() = default;
  explicit Clamp(Activation activation) {
    if (activation != Activation::none) low = 0;
    if (activation == Activation::relu6) high = 6;
  }
  /// NaN passes. V is T or a vector of it.
  template <class V>
  TESSERA_HD V operator()(V v) const {
    const V lo = V{} + low, hi = V{} + high;
    v = v < lo ? lo : v;
    return v > hi ? hi : v;
  }
};

}  // namespace tessera::conv

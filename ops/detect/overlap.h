#pragma once

#include <cmath>
#include <limits>

#include "tensor/macros.h"

namespace tessera::math {

/// a * b, rounded. A GPU's compiler would otherwise join it with a sum it is part of, and boxes
/// whose overlap is just a threshold would depend on the device.
template <class T>
TESSERA_HD T rounded_product(T a, T b) {
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof(T) == 4)
    return __fmul_rn(a, b);
  else
    return __dmul_rn(a, b);
#else
  return a * b;
#endif
}

/// Corners of a box.
template <class T>
struct Corners {
  T x1, y1, x2, y2;
  TESSERA_HD T area() const { return rounded_product(x2 - x1, y2 - y1); }
};

template <class T>
TESSERA_HD T over_union(T common, T area_a, T area_b) {
  return common / (area_a + area_b - common);
}

/// Intersection over union. NaN where both boxes have no area or one of them holds a NaN.
template <class T>
TESSERA_HD T box_iou(const Corners<T>& a, T area_a, const Corners<T>& b, T area_b) {
  const T w = (b.x2 < a.x2 ? b.x2 : a.x2) - (a.x1 < b.x1 ? b.x1 : a.x1);
  const T h = (b.y2 < a.y2 ? b.y2 : a.y2) - (a.y1 < b.y1 ? b.y1 : a.y1);
  const T common = rounded_product(w < 0 ? T(0) : w, h < 0 ? T(0) : h);
  return over_union(common, area_a, area_b);
}

/// The same for suppression of b by a: boxes that do not overlap, or only in NaN, share nothing.
template <class T>
TESSERA_HD T suppression_iou(const Corners<T>& a, T area_a, const Corners<T>& b, T area_b) {
  const T left = b.x1 > a.x1 ? b.x1 : a.x1, top = b.y1 > a.y1 ? b.y1 : a.y1;
  const T right = b.x2 < a.x2 ? b.x2 : a.x2, bottom = b.y2 < a.y2 ? b.y2 : a.y2;
  const T w = right > left ? right - left : T(0), h = bottom > top ? bottom - top : T(0);
  return over_union(rounded_product(w, h), area_a, area_b);
}

/// The largest T that is not above the threshold: for every T, v > threshold is v > this.
template <class T>
T round_down(double threshold) {
  const T t = static_cast<T>(threshold);
  return static_cast<double>(t) > threshold ? std::nextafter(t, std::numeric_limits<T>::lowest())
                                            : t;
}

}  // namespace tessera::math

#pragma once

#include <cmath>
#include <cstdint>

#include "tensor/macros.h"

namespace tessera {

enum class GridMode { bilinear, nearest };
/// What a location outside the image samples: zero; the nearest border pixel; the image mirrored at
/// its border (at the outer edges of the border pixels, or at their centres with align_corners).
enum class GridPadding { zeros, border, reflection };

struct GridSampleOptions {
  GridMode mode = GridMode::bilinear;
  GridPadding padding = GridPadding::zeros;
  /// -1 and 1 are the centres of the corner pixels; otherwise the outer edges of the image.
  bool align_corners = false;
};

namespace math {

/// A grid value as a pixel coordinate, and d(pixel) / d(grid value).
template <class T>
struct GridCoordinate {
  T pixel, slope;
};

/// Pixel coordinate of grid value g on an axis of `size` pixels, padded as `padding` says. Without
/// padding the result may lie outside [0, size - 1]. NaN and values too far out for an integer
/// become -2, which is outside.
template <class T>
TESSERA_HD GridCoordinate<T> grid_coordinate(T g, int64_t size, GridPadding padding,
                                             bool align_corners) {
  const T n = static_cast<T>(size);
  GridCoordinate<T> c;
  c.pixel = align_corners ? (g + 1) / 2 * (n - 1) : ((g + 1) * n - 1) / 2;
  c.slope = align_corners ? (n - 1) / 2 : n / 2;
  if (padding == GridPadding::reflection) {
    const T low = align_corners ? T(0) : T(-0.5);
    const T span = align_corners ? n - 1 : n;
    if (span <= 0) return {T(0), T(0)};
    T distance = c.pixel - low;
    if (distance < 0) {
      distance = -distance;
      c.slope = -c.slope;
    }
    const T extra = std::fmod(distance, span);
    const T flips = std::floor(distance / span);
    if (std::fmod(flips, T(2)) == 0) {
      c.pixel = extra + low;
    } else {
      c.pixel = span - extra + low;
      c.slope = -c.slope;
    }
  }
  if (padding != GridPadding::zeros) {
    if (c.pixel <= 0) return {T(0), T(0)};
    if (c.pixel >= n - 1) return {n - 1, T(0)};
  }
  if (!(c.pixel > -2 && c.pixel < n + 1)) return {T(-2), T(0)};
  return c;
}

/// The two pixels around a coordinate; valid[i] tells whether pixel low + i exists.
template <class T>
struct GridTaps {
  int64_t low;
  T weight[2];
  bool valid[2];
};

template <class T>
TESSERA_HD GridTaps<T> grid_taps(T pixel, int64_t size, GridMode mode) {
  const T base = mode == GridMode::nearest ? std::nearbyint(pixel) : std::floor(pixel);
  GridTaps<T> t;
  t.low = static_cast<int64_t>(base);
  t.weight[1] = mode == GridMode::nearest ? T(0) : pixel - base;
  t.weight[0] = 1 - t.weight[1];
  t.valid[0] = t.low >= 0 && t.low < size;
  t.valid[1] = mode != GridMode::nearest && t.low + 1 >= 0 && t.low + 1 < size;
  return t;
}

}  // namespace math
}  // namespace tessera

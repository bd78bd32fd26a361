#pragma once

#include "ops/image/grid_math.h"

namespace tessera::math {

/// Where one location of a grid samples an image: up to four pixels, corner k = 2 * dy + dx.
template <class T>
struct GridLocation {
  GridCoordinate<T> cx, cy;
  GridTaps<T> tx, ty;

  TESSERA_HD GridLocation(T x, T y, int64_t height, int64_t width, const GridSampleOptions& o)
      : cx(grid_coordinate(x, width, o.padding, o.align_corners)),
        cy(grid_coordinate(y, height, o.padding, o.align_corners)),
        tx(grid_taps(cx.pixel, width, o.mode)),
        ty(grid_taps(cy.pixel, height, o.mode)) {}

  TESSERA_HD bool valid(int k) const { return ty.valid[k / 2] && tx.valid[k % 2]; }
  TESSERA_HD T weight(int k) const { return ty.weight[k / 2] * tx.weight[k % 2]; }
  TESSERA_HD int64_t pixel(int k, int64_t width) const {
    return (ty.low + k / 2) * width + tx.low + k % 2;
  }
};

/// weight[1] of a coordinate is slope * g + this. Zero slope: the weight is constant and may not be
/// reconstructed from a NaN grid value.
template <class T>
TESSERA_HD T grid_shift(const GridCoordinate<T>& c, const GridTaps<T>& t, T g) {
  return c.slope == 0 ? t.weight[1] : t.weight[1] - c.slope * g;
}

}  // namespace tessera::math

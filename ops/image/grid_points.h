#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "ops/image/grid_sample.h"

namespace tessera {

/// Where one location samples an image: up to four pixels, corner k = 2 * dy + dx.
template <class T>
struct GridLocation {
  math::GridCoordinate<T> cx, cy;
  math::GridTaps<T> tx, ty;

  GridLocation(const T* grid, int64_t height, int64_t width, const GridSampleOptions& o)
      : cx(math::grid_coordinate(grid[0], width, o.padding, o.align_corners)),
        cy(math::grid_coordinate(grid[1], height, o.padding, o.align_corners)),
        tx(math::grid_taps(cx.pixel, width, o.mode)),
        ty(math::grid_taps(cy.pixel, height, o.mode)) {}

  bool valid(int k) const { return ty.valid[k / 2] && tx.valid[k % 2]; }
};

/// The same of up to kCount neighbouring locations, computed together.
template <class T>
struct GridPoints {
  static constexpr int64_t kCount = 32;
  T right[kCount], lower[kCount];      // weights of the corners with dx = 1 and with dy = 1
  T slope_x[kCount], slope_y[kCount];  // d(pixel) / d(grid value)
  int64_t pixel[kCount];               // corner 0 in its image, which may lie outside
  int32_t corners[kCount];             // bit k: corner k exists

  static constexpr int32_t kAll = 15;

  T weight(int64_t i, int k) const {
    return (k / 2 != 0 ? lower[i] : 1 - lower[i]) * (k % 2 != 0 ? right[i] : 1 - right[i]);
  }

  /// The locations of `grid` (count, 2).
  void fill(const T* grid, int64_t count, int64_t height, int64_t width,
            const GridSampleOptions& o) {
    // Sizes that are exact in f32, and numbers of pixels in 32 bits.
    const bool small =
        std::max(height, width) < (1 << 24) && (height + 2) * (width + 2) <= INT32_MAX;
    if (std::is_same_v<T, float> && o.mode == GridMode::bilinear && small &&
        o.padding != GridPadding::reflection)
      return fill_together(grid, count, height, width, o);
    for (int64_t i = 0; i < count; ++i) {
      const GridLocation<T> at(grid + 2 * i, height, width, o);
      right[i] = at.tx.weight[1];
      lower[i] = at.ty.weight[1];
      slope_x[i] = at.cx.slope;
      slope_y[i] = at.cy.slope;
      pixel[i] = at.ty.low * width + at.tx.low;
      corners[i] = 0;
      for (int k = 0; k < 4; ++k) corners[i] |= static_cast<int32_t>(at.valid(k)) << k;
    }
  }

 private:
  struct Axis {
    T weight[kCount], slope[kCount];
    int32_t low[kCount], exists[kCount];  // bit i: pixel low + i exists

    // As grid_coordinate() and grid_taps(), without branches.
    template <bool kAlign, bool kBorder>
    void fill(const T* grid, int64_t size) {
      const T n = static_cast<T>(size), last = n - 1;
      const auto pixels = static_cast<int32_t>(size);
      for (int64_t i = 0; i < kCount; ++i) {
        const T g = grid[i];
        T at = kAlign ? (g + 1) / 2 * last : ((g + 1) * n - 1) / 2;
        T d = kAlign ? last / 2 : n / 2;
        if constexpr (kBorder) {
          d = at <= 0 || at >= last ? T(0) : d;
          at = at <= 0 ? T(0) : at;
          at = at >= last ? last : at;
        }
        const bool near = at > -2 && at < n + 1;  // false for NaN
        at = near ? at : T(-2);
        d = near ? d : T(0);
        const T base = std::floor(at);
        const auto first = static_cast<int32_t>(base);
        weight[i] = at - base;
        slope[i] = d;
        low[i] = first;
        exists[i] = static_cast<int32_t>(first >= 0 && first < pixels) |
                    static_cast<int32_t>(first >= -1 && first + 1 < pixels) * 2;
      }
    }
    void fill(const T* grid, int64_t size, const GridSampleOptions& o) {
      const bool border = o.padding == GridPadding::border;
      if (o.align_corners)
        return border ? fill<true, true>(grid, size) : fill<true, false>(grid, size);
      border ? fill<false, true>(grid, size) : fill<false, false>(grid, size);
    }
  };

  // Always kCount of them, so that the loops are vectorised as a whole.
  void fill_together(const T* grid, int64_t count, int64_t height, int64_t width,
                     const GridSampleOptions& o) {
    T both[2 * kCount], at_x[kCount], at_y[kCount];
    std::copy_n(grid, 2 * count, both);
    std::fill(both + 2 * count, both + 2 * kCount, T(0));
    for (int64_t i = 0; i < kCount; ++i) {
      at_x[i] = both[2 * i];
      at_y[i] = both[2 * i + 1];
    }
    Axis x, y;
    x.fill(at_x, width, o);
    y.fill(at_y, height, o);
    const auto row = static_cast<int32_t>(width);
    for (int64_t i = 0; i < kCount; ++i) {
      right[i] = x.weight[i];
      lower[i] = y.weight[i];
      slope_x[i] = x.slope[i];
      slope_y[i] = y.slope[i];
      pixel[i] = y.low[i] * row + x.low[i];
      const int32_t upper_pair = (y.exists[i] & 1) != 0 ? x.exists[i] : 0;
      const int32_t lower_pair = (y.exists[i] & 2) != 0 ? x.exists[i] : 0;
      corners[i] = upper_pair + 4 * lower_pair;
    }
  }
};

}  // namespace tessera

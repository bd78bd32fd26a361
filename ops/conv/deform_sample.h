#pragma once

#include <cmath>
#include <cstdint>

#include "tensor/macros.h"

namespace tessera::conv {

/// A bilinear sample of an image: up to four pixels around the position, their weights and the
/// weights' derivatives in the position.
template <class T>
struct BilinearSample {
  struct Corner {
    int64_t pixel;  ///< row * width + column; -1 where there is none
    T weight, d_h, d_w;
  };

  int height, width;
  int top = -2, left = -2;  // of the image: no corner is inside
  T fh = 0, fw = 0;

  /// Positions outside (-1, height) x (-1, width), NaN among them, have no corners.
  TESSERA_HD BilinearSample(int image_height, int image_width, T h, T w)
      : height(image_height), width(image_width) {
    if (!(h > -1 && w > -1 && h < static_cast<T>(height) && w < static_cast<T>(width))) return;
    const T h0 = std::floor(h), w0 = std::floor(w);
    top = static_cast<int>(h0);
    left = static_cast<int>(w0);
    fh = h - h0;
    fw = w - w0;
  }
  /// i = 2 * (lower) + (right).
  TESSERA_HD Corner corner(int i) const {
    const int row = top + i / 2, col = left + i % 2;
    const T wh = i / 2 ? fh : 1 - fh, ww = i % 2 ? fw : 1 - fw;
    const bool inside = row >= 0 && row < height && col >= 0 && col < width;
    return {inside ? int64_t{row} * width + col : -1, wh * ww, i / 2 ? ww : -ww, i % 2 ? wh : -wh};
  }
};

}  // namespace tessera::conv

#pragma once

#include "ops/cpu/panel_gemm.h"

/// The transforms of Winograd's F(4 x 4, 3 x 3) on vectors of channels, for the points 0, 1, -1, 2,
/// -2 and infinity. A transform along one axis is a function object from In vectors to Out vectors;
/// both_axes applies it to the columns and then to the rows of a tile.
namespace tessera::conv::winograd {

using Vec = cpu::PanelRegister;

inline constexpr int kTile = 4, kPatch = kTile + 2, kPoints = kPatch * kPatch;

/// B^T d.
struct InputTransform {
  static constexpr int kIn = 6, kOut = 6;
  void operator()(const Vec (&d)[kIn], Vec (&t)[kOut]) const {
    const Vec a = d[4] - 4 * d[2], b = d[3] - 4 * d[1], c = d[4] - d[2], e = 2 * (d[3] - d[1]);
    t[0] = 4 * d[0] - 5 * d[2] + d[4];
    t[1] = a + b;
    t[2] = a - b;
    t[3] = c + e;
    t[4] = c - e;
    t[5] = 4 * d[1] - 5 * d[3] + d[5];
  }
};

/// A^T m.
struct OutputTransform {
  static constexpr int kIn = 6, kOut = 4;
  void operator()(const Vec (&m)[kIn], Vec (&y)[kOut]) const {
    const Vec a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
    y[0] = m[0] + a + c;
    y[1] = b + 2 * d;
    y[2] = a + 4 * c;
    y[3] = b + 8 * d + m[5];
  }
};

/// A g, the transpose of OutputTransform.
struct GradientTransform {
  static constexpr int kIn = 4, kOut = 6;
  void operator()(const Vec (&g)[kIn], Vec (&t)[kOut]) const {
    const Vec even = g[0] + g[2], odd = g[1] + g[3], far = g[0] + 4 * g[2],
              near = 2 * g[1] + 8 * g[3];
    t[0] = g[0];
    t[1] = even + odd;
    t[2] = even - odd;
    t[3] = far + near;
    t[4] = far - near;
    t[5] = g[3];
  }
};

/// G^T m, the transpose of FilterTransform.
struct FilterGradient {
  static constexpr int kIn = 6, kOut = 3;
  void operator()(const Vec (&m)[kIn], Vec (&g)[kOut]) const {
    const Vec a = (m[1] + m[2]) * (-1.0f / 6), b = (m[3] + m[4]) * (1.0f / 24);
    g[0] = m[0] * 0.25f + a + b;
    g[1] = (m[2] - m[1]) * (1.0f / 6) + (m[3] - m[4]) * (1.0f / 12);
    g[2] = a + 4 * b + m[5];
  }
};

/// G w.
struct FilterTransform {
  static constexpr int kIn = 3, kOut = 6;
  void operator()(const Vec (&g)[kIn], Vec (&t)[kOut]) const {
    const Vec even = (g[0] + g[2]) * (-1.0f / 6), far = (g[0] + 4 * g[2]) * (1.0f / 24);
    const Vec odd = g[1] * (-1.0f / 6), near = g[1] * (1.0f / 12);
    t[0] = g[0] * 0.25f;
    t[1] = even + odd;
    t[2] = even - odd;
    t[3] = far + near;
    t[4] = far - near;
    t[5] = g[2];
  }
};

/// Reads a tile by load(row, column), transforms its columns and then its rows, and hands each row
/// of the result to store(row, vectors).
template <class Transform, class Load, class Store>
inline void both_axes(Transform transform, Load load, Store store) {
  constexpr int kIn = Transform::kIn, kOut = Transform::kOut;
  Vec half[kOut][kIn];
  for (int col = 0; col < kIn; ++col) {
    Vec d[kIn], t[kOut];
#pragma GCC unroll 6
    for (int row = 0; row < kIn; ++row) d[row] = load(row, col);
    transform(d, t);
#pragma GCC unroll 6
    for (int row = 0; row < kOut; ++row) half[row][col] = t[row];
  }
  for (int row = 0; row < kOut; ++row) {
    Vec t[kOut];
    transform(half[row], t);
    store(row, t);
  }
}

}  // namespace tessera::conv::winograd

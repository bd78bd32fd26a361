#pragma once

#include <cstdint>

namespace tessera::cpu {

/// The widest vector of f32 that the target has in hardware, and how many accumulators of it a
/// product may hold in registers.
#if defined(__AVX512F__)
inline constexpr int kPanelLanes = 16, kPanelAccumulators = 24;
#else
inline constexpr int kPanelLanes = 8, kPanelAccumulators = 12;
#endif
inline constexpr int kPanelVectors = 4;  ///< of the widest panel
inline constexpr int64_t kPanelColumns = kPanelVectors * kPanelLanes;
/// Every micro kernel's number of rows divides this.
inline constexpr int64_t kPanelRows = kPanelAccumulators;

typedef float PanelVector __attribute__((vector_size(kPanelLanes * 4), aligned(4), may_alias));

/// Operand A of a product: element (row, depth) is data[row * row_stride + depth * depth_stride].
struct PanelRowsView {
  const float* data;
  int64_t row_stride, depth_stride;
};

namespace detail {

// c (Rows x Vectors) = a (Rows x depth) * b (depth x Vectors).
template <int Rows, int Vectors>
void panel_micro(const PanelRowsView& a, const float* b, int64_t ldb, float* c, int64_t ldc,
                 int64_t depth) {
  PanelVector acc[Rows][Vectors] = {};
  const float* x = a.data;
  for (int64_t d = 0; d < depth; ++d, b += ldb, x += a.depth_stride) {
    PanelVector row[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v)
      row[v] = *reinterpret_cast<const PanelVector*>(b + v * kPanelLanes);
#pragma GCC unroll 24
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) acc[r][v] += x[r * a.row_stride] * row[v];
  }
#pragma GCC unroll 24
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v)
      *reinterpret_cast<PanelVector*>(c + r * ldc + v * kPanelLanes) = acc[r][v];
}

template <int Vectors>
void panel_rows(int64_t rows, PanelRowsView a, const float* b, int64_t ldb, float* c, int64_t ldc,
                int64_t depth) {
  constexpr int kRows = kPanelAccumulators / Vectors;
  for (int64_t r = 0; r < rows; r += kRows) {
    panel_micro<kRows, Vectors>(a, b, ldb, c + r * ldc, ldc, depth);
    a.data += kRows * a.row_stride;
  }
}

}  // namespace detail

/// c (rows x vectors * kPanelLanes) = a (rows x depth) * b (depth x vectors * kPanelLanes), with
/// 1 <= vectors <= kPanelVectors and rows of b and c `ldb` and `ldc` apart. Sums run over the depth
/// in order. Rows come in groups of kPanelRows / vectors: a is read and c written to the end of the
/// last group.
inline void panel_gemm(int64_t rows, int vectors, const PanelRowsView& a, const float* b,
                       int64_t ldb, float* c, int64_t ldc, int64_t depth) {
  switch (vectors) {
    case 1:
      return detail::panel_rows<1>(rows, a, b, ldb, c, ldc, depth);
    case 2:
      return detail::panel_rows<2>(rows, a, b, ldb, c, ldc, depth);
    case 3:
      return detail::panel_rows<3>(rows, a, b, ldb, c, ldc, depth);
    default:
      return detail::panel_rows<4>(rows, a, b, ldb, c, ldc, depth);
  }
}

}  // namespace tessera::cpu

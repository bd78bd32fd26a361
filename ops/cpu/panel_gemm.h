#pragma once

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

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

/// Such a vector in registers and locals, with the alignment of its size.
typedef float PanelRegister __attribute__((vector_size(kPanelLanes * 4)));

inline PanelRegister load_lanes(const float* p) { return *reinterpret_cast<const PanelVector*>(p); }
inline void store_lanes(float* p, const PanelRegister& v) {
  *reinterpret_cast<PanelVector*>(p) = v;
}

/// The first `count` lanes, 0 to kPanelLanes; the others are 0, or left alone in memory.
inline PanelRegister load_lanes(const float* p, int64_t count) {
#if defined(__AVX512F__)
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((uint32_t{1} << count) - 1), p);
#else
  PanelRegister v = {};
  std::memcpy(&v, p, static_cast<size_t>(count) * sizeof(float));
  return v;
#endif
}
inline void store_lanes(float* p, const PanelRegister& v, int64_t count) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((uint32_t{1} << count) - 1), v);
#else
  std::memcpy(p, &v, static_cast<size_t>(count) * sizeof(float));
#endif
}

inline int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

/// Columns [first, first + width) of operand B of a product: at most kPanelColumns.
struct Panel {
  int64_t first, width;

  /// The index-th panel of `columns` in all.
  static Panel at(int64_t index, int64_t columns) {
    return {index * kPanelColumns, std::min(kPanelColumns, columns - index * kPanelColumns)};
  }
  static int64_t count(int64_t columns) { return (columns + kPanelColumns - 1) / kPanelColumns; }
  int vectors() const { return static_cast<int>((width + kPanelLanes - 1) / kPanelLanes); }
  /// Width in whole vectors: between its rows when it is packed.
  int64_t stride() const { return vectors() * kPanelLanes; }
};

/// Operand A of a product: element (row, depth) is data[row * row_stride + depth * depth_stride].
struct PanelRowsView {
  const float* data;
  int64_t row_stride, depth_stride;
};

/// sink(row, v, sums) for each vector of the Rows x Vectors block of a (Rows x depth) * b (depth x
/// Vectors), rows of b `ldb` apart. Sums run over the depth in order. ahead(d) is called before
/// every 16 steps of the depth, to prefetch what comes later.
template <int Rows, int Vectors, class Ahead, class Sink>
inline void panel_block(const PanelRowsView& a, const float* b, int64_t ldb, int64_t depth,
                        Ahead&& ahead, Sink&& sink) {
  PanelRegister acc[Rows][Vectors] = {};
  const float* x = a.data;
  for (int64_t d = 0; d < depth;) {
    ahead(d);
    for (const int64_t stop = std::min<int64_t>(d + 16, depth); d < stop;
         ++d, b += ldb, x += a.depth_stride) {
      PanelRegister row[Vectors];
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) row[v] = load_lanes(b + v * kPanelLanes);
#pragma GCC unroll 24
      for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) acc[r][v] += x[r * a.row_stride] * row[v];
    }
  }
#pragma GCC unroll 24
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) sink(r, v, acc[r][v]);
}

namespace detail {

template <int Vectors>
void panel_rows(int64_t rows, PanelRowsView a, const float* b, int64_t ldb, float* c, int64_t ldc,
                int64_t depth) {
  constexpr int kRows = kPanelAccumulators / Vectors;
  for (int64_t r = 0; r < rows; r += kRows) {
    panel_block<kRows, Vectors>(
        a, b, ldb, depth, [](int64_t) {},
        [&](int row, int v, const PanelRegister& sums) {
          store_lanes(c + (r + row) * ldc + v * kPanelLanes, sums);
        });
    a.data += kRows * a.row_stride;
  }
}

}  // namespace detail

/// Calls f.operator()<vectors>() for a number of vectors known when it runs, 1 to kPanelVectors.
template <class F>
inline void with_panel_vectors(int vectors, F&& f) {
  switch (vectors) {
    case 1:
      return f.template operator()<1>();
    case 2:
      return f.template operator()<2>();
    case 3:
      return f.template operator()<3>();
    default:
      return f.template operator()<4>();
  }
}

/// c (rows x vectors * kPanelLanes) = a (rows x depth) * b (depth x vectors * kPanelLanes), with
/// 1 <= vectors <= kPanelVectors and rows of b and c `ldb` and `ldc` apart. Sums run over the depth
/// in order. Rows come in groups of kPanelRows / vectors: a is read and c written to the end of the
/// last group.
inline void panel_gemm(int64_t rows, int vectors, const PanelRowsView& a, const float* b,
                       int64_t ldb, float* c, int64_t ldc, int64_t depth) {
  with_panel_vectors(
      vectors, [&]<int Vectors>() { detail::panel_rows<Vectors>(rows, a, b, ldb, c, ldc, depth); });
}

}  // namespace tessera::cpu

#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include "ops/cpu/vector.h"
#include "tensor/parallel.h"

namespace tessera::cpu {

/// Sizes of a blocked product in elements. A depth of 128 keeps a panel of B in the first-level
/// cache; strides are an odd number of cache lines, so that its rows do not fall on the same sets.
template <class T>
struct GemmBlocks {
  static constexpr int64_t kLanes = Vector<T>::kLanes;
  static constexpr int64_t kMicroRows = 8, kMicroCols = 3 * kLanes;
  static constexpr int64_t kRows = 128, kCols = 24 * kLanes, kDepth = 128;
  static constexpr int64_t kStrideA = kDepth + kLanes, kStrideB = kCols + kLanes;

  alignas(64) T a[kRows * kStrideA];
  alignas(64) T b[kDepth * kStrideB];
  alignas(64) T c[kRows * kStrideB];
};

namespace detail {

// c (8 x 3 vectors) = or += a (8 x depth) * b (depth x 3 vectors).
template <class T>
void gemm_micro(const T* a, const T* b, T* c, int64_t depth, bool accumulate) {
  using Blocks = GemmBlocks<T>;
  using Vec = typename Vector<T>::Type;
  constexpr int kRows = Blocks::kMicroRows;
  Vec acc[kRows][3];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 3
    for (int v = 0; v < 3; ++v)
      acc[r][v] =
          accumulate ? Vector<T>::load(c + r * Blocks::kStrideB + v * Blocks::kLanes) : Vec{};
  for (int64_t d = 0; d < depth; ++d) {
    const T* row = b + d * Blocks::kStrideB;
    const Vec b0 = Vector<T>::load(row);
    const Vec b1 = Vector<T>::load(row + Blocks::kLanes);
    const Vec b2 = Vector<T>::load(row + 2 * Blocks::kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const T x = a[r * Blocks::kStrideA + d];
      acc[r][0] += x * b0;
      acc[r][1] += x * b1;
      acc[r][2] += x * b2;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 3
    for (int v = 0; v < 3; ++v)
      Vector<T>::store(c + r * Blocks::kStrideB + v * Blocks::kLanes, acc[r][v]);
}

template <class T>
GemmBlocks<T>& gemm_blocks() {
  thread_local const std::unique_ptr<GemmBlocks<T>> blocks(new GemmBlocks<T>);
  return *blocks;
}

}  // namespace detail

/// C(m, n) = sum_k A(m, k) B(k, n) for each of `batch` products, for operands that are produced
/// block by block:
///   pack_a(batch, m, rows, k, depth, dst, ld)   dst[r * ld + d] = A(m + r, k + d)
///   pack_b(batch, k, depth, n, cols, dst, ld)   dst[d * ld + c] = B(k + d, n + c)
///   store(batch, m, rows, n, cols, c, ld)       receives the finished block c[r * ld + c]
/// Blocks run in parallel; the order of every sum is fixed, so the result does not depend on the
/// number of threads. K == 0 stores zeros. T is float or double.
template <class T, class PackA, class PackB, class Store>
void blocked_gemm(int64_t batch, int64_t m_size, int64_t n_size, int64_t k_size,
                  const PackA& pack_a, const PackB& pack_b, const Store& store) {
  using B = GemmBlocks<T>;
  if (batch <= 0 || m_size <= 0 || n_size <= 0) return;
  const int64_t n_blocks = (n_size + B::kCols - 1) / B::kCols;
  int64_t tile_rows = B::kRows;  // smaller where the threads would not all find work
  while (tile_rows > 2 * B::kMicroRows &&
         batch * n_blocks * ((m_size + tile_rows - 1) / tile_rows) < 3 * num_threads())
    tile_rows /= 2;
  const int64_t m_blocks = (m_size + tile_rows - 1) / tile_rows;
  parallel_for(0, batch * m_blocks * n_blocks, 1, [&](int64_t begin, int64_t end) {
    B& buffers = detail::gemm_blocks<T>();
    for (int64_t block = begin; block < end; ++block) {
      const int64_t group = block / (m_blocks * n_blocks);
      const int64_t m = block / n_blocks % m_blocks * tile_rows, n = block % n_blocks * B::kCols;
      const int64_t rows = std::min(tile_rows, m_size - m), cols = std::min(B::kCols, n_size - n);
      const int64_t padded_rows = (rows + B::kMicroRows - 1) / B::kMicroRows * B::kMicroRows;
      const int64_t padded_cols = (cols + B::kMicroCols - 1) / B::kMicroCols * B::kMicroCols;
      if (k_size == 0) std::fill_n(buffers.c, padded_rows * B::kStrideB, T(0));
      for (int64_t k = 0; k < k_size; k += B::kDepth) {
        const int64_t depth = std::min(B::kDepth, k_size - k);
        pack_a(group, m, rows, k, depth, buffers.a, B::kStrideA);
        pack_b(group, k, depth, n, cols, buffers.b, B::kStrideB);
        std::fill(buffers.a + rows * B::kStrideA, buffers.a + padded_rows * B::kStrideA, T(0));
        for (int64_t d = 0; cols < padded_cols && d < depth; ++d)
          std::fill(buffers.b + d * B::kStrideB + cols, buffers.b + d * B::kStrideB + padded_cols,
                    T(0));
        for (int64_t c = 0; c < padded_cols; c += B::kMicroCols)
          for (int64_t r = 0; r < padded_rows; r += B::kMicroRows)
            detail::gemm_micro(buffers.a + r * B::kStrideA, buffers.b + c,
                               buffers.c + r * B::kStrideB + c, depth, k > 0);
      }
      store(group, m, rows, n, cols, buffers.c, B::kStrideB);
    }
  });
}

}  // namespace tessera::cpu

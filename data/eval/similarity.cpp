// A fused multiply-add would round once and give other bits than a processor without it.
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

#include "data/eval/similarity.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "tensor/error.h"
#include "tensor/parallel.h"

namespace tessera::data {
namespace {

// One vector register and the rows that share the loads of a panel: the sums of a tile fill half of
// the registers.
#if defined(__AVX__)
constexpr int64_t kLanes = 8, kTile = 4;
#else
constexpr int64_t kLanes = 4, kTile = 2;
#endif
constexpr int64_t kBlockFloats = int64_t{1} << 24;  // 64 MiB of similarities
constexpr int64_t kPanel = 16;                      // columns that one pass over k accumulates
constexpr int64_t kVectors = kPanel / kLanes;

// Lowered by GCC and clang to whatever the target has.
typedef float Vec __attribute__((vector_size(kLanes * sizeof(float))));

// Rows [i, i + Rows) of `a` times one packed panel: the sums stay in registers, and the
// Rows * kVectors independent chains hide the latency of an addition.
template <int64_t Rows>
void tile(const float* a, int64_t dim, const float* panel, float* out, int64_t cols,
          int64_t width) {
  Vec sum[Rows][kVectors] = {};
  for (int64_t k = 0; k < dim; ++k) {
    Vec row[kVectors];
    std::memcpy(row, panel + k * kPanel, sizeof row);
    for (int64_t r = 0; r < Rows; ++r) {
      const float scalar = a[r * dim + k];
      for (int64_t v = 0; v < kVectors; ++v) sum[r][v] = sum[r][v] + row[v] * scalar;
    }
  }
  for (int64_t r = 0; r < Rows; ++r)
    std::memcpy(out + r * cols, sum[r], static_cast<size_t>(width) * sizeof(float));
}

// panel[k, c] = b[c, k]; columns past `width` are zero and never stored.
void pack(const float* b, int64_t dim, int64_t width, float* panel) {
  if (width < kPanel) std::fill(panel, panel + dim * kPanel, 0.0f);
  for (int64_t c = 0; c < width; ++c)
    for (int64_t k = 0; k < dim; ++k) panel[k * kPanel + c] = b[c * dim + k];
}

}  // namespace

void inner_products(std::span<const float> a, std::span<const float> b, int64_t dim,
                    std::span<float> out) {
  TESSERA_CHECK(ShapeError, dim >= 1, "inner_products: dim must be positive, got ", dim);
  const int64_t rows = std::ssize(a) / dim, cols = std::ssize(b) / dim;
  TESSERA_CHECK(
      ShapeError,
      rows * dim == std::ssize(a) && cols * dim == std::ssize(b) && rows * cols == std::ssize(out),
      "inner_products: ", a.size(), " and ", b.size(), " values of dim ", dim, " do not give ",
      out.size(), " products");
  if (rows == 0 || cols == 0) return;
  const int64_t panels = (cols + kPanel - 1) / kPanel;
  parallel_for(0, panels, 1, [&](int64_t first, int64_t last) {
    std::vector<float> panel(static_cast<size_t>(dim * kPanel));
    for (int64_t p = first; p < last; ++p) {
      const int64_t j = p * kPanel, width = std::min(kPanel, cols - j);
      pack(b.data() + j * dim, dim, width, panel.data());
      int64_t i = 0;
      for (; i + kTile <= rows; i += kTile)
        tile<kTile>(a.data() + i * dim, dim, panel.data(), out.data() + i * cols + j, cols, width);
      for (; i < rows; ++i)
        tile<1>(a.data() + i * dim, dim, panel.data(), out.data() + i * cols + j, cols, width);
    }
  });
}

float inner_product(const float* a, const float* b, int64_t dim) {
  float sum = 0;
  for (int64_t k = 0; k < dim; ++k) sum = sum + b[k] * a[k];
  return sum;
}

void for_each_similarity_row(std::span<const float> features, int64_t dim,
                             const std::function<void(int64_t, std::span<float>)>& use) {
  const int64_t rows = std::ssize(features) / dim;
  const int64_t block = std::clamp<int64_t>(kBlockFloats / rows, 1, rows);
  std::vector<float> buffer(static_cast<size_t>(block * rows));
  for (int64_t begin = 0; begin < rows; begin += block) {
    const int64_t count = std::min(block, rows - begin);
    const std::span<float> similarities(buffer.data(), static_cast<size_t>(count * rows));
    inner_products(features.subspan(begin * dim, count * dim), features, dim, similarities);
    parallel_for(0, count, 4, [&](int64_t b, int64_t e) {
      for (int64_t i = b; i < e; ++i) use(begin + i, similarities.subspan(i * rows, rows));
    });
  }
}

}  // namespace tessera::data

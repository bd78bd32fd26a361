// Winograd's minimal filtering F(4 x 4, 3 x 3) (Lavin and Gray, arXiv 1509.09308): a 4 x 4 tile of
// outputs costs 36 products per pair of channels instead of 144,
//   Y = A^T [ (G w G^T) * (B^T d B) ] A,
// with the products of all tiles and channels gathered into 36 matrix products. A thread carries a
// block of tiles through all three steps, so that only filters and images touch main memory.
#include "ops/conv/conv2d_winograd.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "ops/conv/winograd_transforms.h"
#include "ops/cpu/packed_weights.h"
#include "tensor/parallel.h"

namespace tessera::conv::winograd {
namespace {

using cpu::kPanelColumns;
using cpu::kPanelLanes;
using cpu::kPanelRows;
using cpu::round_up;

// Floats of transformed images that the last-level cache is trusted to hold.
constexpr int64_t kCachedFloats = int64_t{3} << 20;

// One thread's block of tiles: v holds the transformed patches [point][tile][channel], m the
// products of one panel [point][tile][column]. Strides avoid powers of two.
struct Block {
  int64_t tiles, v_row, v_point, m_point;

  Block(int64_t tiles, int64_t channels)
      : tiles(tiles),
        v_row(round_up(channels, kPanelLanes) + kPanelLanes),
        v_point(tiles * v_row + kPanelLanes),
        m_point(tiles * kPanelColumns + kPanelLanes) {}
  int64_t floats() const { return kPoints * (v_point + m_point); }
};

// A filter bank by strides in elements: a gradient's is the same memory seen from its end.
struct FilterView {
  const float* data;
  int64_t out_stride, in_stride, kh_stride, kw_stride;
};

// Pointers may be null.
struct Epilogue {
  const float* bias = nullptr;      // (O)
  const float* residual = nullptr;  // (N, Ho, Wo, O)
  Clamp<float> clamp{};
};

struct TileGrid {
  int64_t rows, cols, count;
  explicit TileGrid(const ConvShape& s)
      : rows((s.ho + kTile - 1) / kTile),
        cols((s.wo + kTile - 1) / kTile),
        count(s.n * rows * cols) {}
};

struct TilePlace {
  int64_t n, row, col;  // of the first output pixel
};
TilePlace place(const TileGrid& grid, int64_t tile) {
  const int64_t per_image = grid.rows * grid.cols, rest = tile % per_image;
  return {tile / per_image, rest / grid.cols * kTile, rest % grid.cols * kTile};
}

// Writes the transform of one tile's pixels, of `channels` each, as v[point][channel].
template <class Transform>
void transform_pixels(const float* const (&pixel)[Transform::kIn][Transform::kIn], int64_t channels,
                      float* v, int64_t v_point) {
  const auto transform = [&](int64_t c, auto read) {
    both_axes(
        Transform{}, [&](int row, int col) { return read(pixel[row][col] + c); },
        [&](int row, const Vec(&t)[kPatch]) {
#pragma GCC unroll 6
          for (int col = 0; col < kPatch; ++col)
            cpu::store_lanes(v + (row * kPatch + col) * v_point + c, t[col]);
        });
  };
  int64_t c = 0;
  for (; c + kPanelLanes <= channels; c += kPanelLanes)
    transform(c, [](const float* p) { return cpu::load_lanes(p); });
  if (c < channels) transform(c, [&](const float* p) { return cpu::load_lanes(p, channels - c); });
}

void load_tile(const ConvShape& s, const float* x, const float* zeros, const TilePlace& at,
               float* v, int64_t v_point) {
  const float* pixel[kPatch][kPatch];
  for (int row = 0; row < kPatch; ++row) {
    const int64_t h = at.row - s.ph + row;
    for (int col = 0; col < kPatch; ++col) {
      const int64_t w = at.col - s.pw + col;
      const bool inside = h >= 0 && h < s.h && w >= 0 && w < s.w;
      pixel[row][col] = inside ? x + ((at.n * s.h + h) * s.w + w) * s.c : zeros;
    }
  }
  transform_pixels<InputTransform>(pixel, s.c, v, v_point);
}

void load_gradient_tile(const ConvShape& s, const float* g, const float* zeros, const TilePlace& at,
                        float* v, int64_t v_point) {
  const float* pixel[kTile][kTile];
  for (int row = 0; row < kTile; ++row)
    for (int col = 0; col < kTile; ++col) {
      const int64_t h = at.row + row, w = at.col + col;
      pixel[row][col] = h < s.ho && w < s.wo ? g + ((at.n * s.ho + h) * s.wo + w) * s.o : zeros;
    }
  transform_pixels<GradientTransform>(pixel, s.o, v, v_point);
}

// Adds G^T M G of one output channel and `width` input channels to gw, its (3, 3, C) filter.
void store_filter(const float* m, int64_t m_point, int64_t width, int64_t channels, bool accumulate,
                  float* gw) {
  for (int64_t c = 0; c < width; c += kPanelLanes) {
    const int64_t count = std::min<int64_t>(kPanelLanes, width - c);
    both_axes(
        FilterGradient{},
        [&](int row, int col) { return cpu::load_lanes(m + (row * kPatch + col) * m_point + c); },
        [&](int row, const Vec(&t)[3]) {
          for (int col = 0; col < 3; ++col) {
            float* to = gw + (row * 3 + col) * channels + c;
            cpu::store_lanes(to, accumulate ? t[col] + cpu::load_lanes(to, count) : t[col], count);
          }
        });
  }
}

// Output columns [first, first + width) of one tile: back transform, epilogue, store.
void store_tile(const ConvShape& s, const float* m, int64_t m_point, int64_t width, int64_t first,
                const TilePlace& at, const Epilogue& e, float* y) {
  const int64_t rows = std::min<int64_t>(kTile, s.ho - at.row),
                cols = std::min<int64_t>(kTile, s.wo - at.col);
  for (int64_t c = 0; c < width; c += kPanelLanes) {
    const int64_t count = std::min<int64_t>(kPanelLanes, width - c);
    const Vec bias = e.bias ? cpu::load_lanes(e.bias + first + c, count) : Vec{};
    both_axes(
        OutputTransform{},
        [&](int row, int col) { return cpu::load_lanes(m + (row * kPatch + col) * m_point + c); },
        [&](int row, const Vec(&t)[kTile]) {
          if (row >= rows) return;
          const int64_t offset = ((at.n * s.ho + at.row + row) * s.wo + at.col) * s.o + first + c;
          for (int64_t col = 0; col < cols; ++col) {
            Vec value = t[col] + bias;
            if (e.residual) value += cpu::load_lanes(e.residual + offset + col * s.o, count);
            cpu::store_lanes(y + offset + col * s.o, e.clamp(value), count);
          }
        });
  }
}

int64_t tiles_per_block(const ConvShape& s, int64_t tiles) {
  // Small enough for the second-level cache where the filters are small too; otherwise large
  // enough that reading the filters again for every block is no burden. Blocks alike in size, a
  // multiple of the threads.
  const int64_t most = s.c <= 64 ? kPanelRows : s.c <= 128 ? 2 * kPanelRows : 4 * kPanelRows;
  const int64_t rows = (tiles + kPanelRows - 1) / kPanelRows;
  const int64_t blocks =
      round_up((tiles + most - 1) / most, std::min<int64_t>(num_threads(), rows));
  return (rows + blocks - 1) / blocks * kPanelRows;
}

}  // namespace

bool applies(const ConvShape& s) {
  return s.kh == 3 && s.kw == 3 && s.sh == 1 && s.sw == 1 && s.dh == 1 && s.dw == 1 &&
         s.groups == 1 && s.ph <= 2 && s.pw <= 2;
}

bool pays(const ConvShape& s, bool weights_stay) {
  if (!applies(s)) return false;
  const TileGrid grid(s);
  const double tiles = static_cast<double>(grid.count), in = static_cast<double>(s.c),
               out = static_cast<double>(s.o);
  const double direct = 18.0 * in * out * static_cast<double>(s.n * s.ho * s.wo);
  // Transforms, reading and making filters in units of the operations that would take as long.
  const double products = 72.0 * in * out * tiles, transforms = 36.0 * 30 * (in + out) * tiles;
  const double filters = 36.0 * in * out * (weights_stay ? 20 : 150);
  return s.c >= 16 && s.o >= 16 && products + transforms + filters < 0.9 * direct;
}

namespace {

int64_t packed_filter_floats(int64_t in, int64_t out) {
  return kPoints * in * round_up(out, kPanelLanes);
}

// G w G^T for the output channels [o, o + lanes) of one input channel.
void transform_filter(const float (&tap)[3][3][kPanelColumns], int64_t o, float* to,
                      int64_t point) {
  both_axes(
      FilterTransform{}, [&](int row, int col) { return cpu::load_lanes(tap[row][col] + o); },
      [&](int row, const Vec(&t)[kPatch]) {
        for (int col = 0; col < kPatch; ++col)
          cpu::store_lanes(to + (row * kPatch + col) * point, t[col]);
      });
}

void pack_filters(int64_t in, int64_t out, const FilterView& w, float* packed) {
  const int64_t panels = (out + kPanelColumns - 1) / kPanelColumns;
  parallel_for(0, panels * in, 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t panel = i / in, c = i % in, first = panel * kPanelColumns;
      const int64_t width = std::min<int64_t>(kPanelColumns, round_up(out - first, kPanelLanes));
      float* to = packed + kPoints * in * first + c * width;
      alignas(64) float tap[3][3][kPanelColumns] = {};
      const float* from = w.data + first * w.out_stride + c * w.in_stride;
      for (int64_t o = 0; o < std::min(width, out - first); ++o, from += w.out_stride)
        for (int kh = 0; kh < 3; ++kh)
          for (int kw = 0; kw < 3; ++kw) tap[kh][kw][o] = from[kh * w.kh_stride + kw * w.kw_stride];
      for (int64_t o = 0; o < width; o += kPanelLanes) transform_filter(tap, o, to + o, in * width);
    }
  });
}

// y = epilogue(conv(x)) with the packed filters.
void run(const ConvShape& s, const float* x, const float* filters, const Epilogue& epilogue,
         float* y) {
  const TileGrid grid(s);
  const Block block(tiles_per_block(s, grid.count), s.c);
  const int64_t blocks = (grid.count + block.tiles - 1) / block.tiles;
  const int64_t panels = (s.o + kPanelColumns - 1) / kPanelColumns;
  // Few tiles: the threads share the panels of a block instead, each transforming its own patches.
  const int64_t parts = std::clamp<int64_t>((num_threads() + blocks - 1) / blocks, 1, panels);
  parallel_for(0, blocks * parts, 1, [&](int64_t begin, int64_t end) {
    thread_local std::vector<float> scratch;
    const size_t floats = static_cast<size_t>(block.floats() + s.c + 2 * kPanelLanes);
    if (scratch.size() < floats) scratch.resize(floats);
    float* v = scratch.data();
    float* m = v + kPoints * block.v_point;
    float* zeros = m + kPoints * block.m_point;
    std::fill_n(zeros, s.c + kPanelLanes, 0.0f);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first = task / parts * block.tiles, part = task % parts;
      const int64_t tiles = std::min(block.tiles, grid.count - first);
      for (int64_t t = 0; t < tiles; ++t)
        load_tile(s, x, zeros, place(grid, first + t), v + t * block.v_row, block.v_point);
      for (int64_t p = panels * part / parts; p < panels * (part + 1) / parts; ++p) {
        const int64_t column = p * kPanelColumns, width = std::min(kPanelColumns, s.o - column);
        const int vectors = static_cast<int>((width + kPanelLanes - 1) / kPanelLanes);
        const int64_t stride = vectors * kPanelLanes;
        const float* u = filters + kPoints * s.c * column;
        for (int point = 0; point < kPoints; ++point)
          cpu::panel_gemm(tiles, vectors, {v + point * block.v_point, block.v_row, 1},
                          u + point * s.c * stride, stride, m + point * block.m_point, stride, s.c);
        for (int64_t t = 0; t < tiles; ++t)
          store_tile(s, m + t * stride, block.m_point, width, column, place(grid, first + t),
                     epilogue, y);
      }
    }
  });
}

// The filters of a convolution from `in` to `out` channels in the order that run() reads.
std::shared_ptr<Storage> packed(const Tensor& w, const char* layout, int64_t in, int64_t out,
                                const FilterView& view) {
  const size_t bytes = static_cast<size_t>(packed_filter_floats(in, out)) * sizeof(float);
  return cpu::packed_weights(w, layout, bytes, [&](void* target) {
    pack_filters(in, out, view, static_cast<float*>(target));
  });
}

}  // namespace

void forward(const ConvShape& s, const float* x, const Tensor& w, const ConvEpilogue& epilogue,
             float* y) {
  const FilterView view{w.data<float>(), 9 * s.c, 1, 3 * s.c, s.c};
  const auto filters = packed(w, "winograd 4x4 3x3 forward", s.c, s.o, view);
  const Epilogue e{
      .bias = epilogue.bias.defined() ? epilogue.bias.data<float>() : nullptr,
      .residual = epilogue.residual.defined() ? epilogue.residual.data<float>() : nullptr,
      .clamp = Clamp<float>(epilogue.activation)};
  run(s, x, static_cast<const float*>(filters->data), e, y);
}

// The convolution of the gradient with the filters turned by half a turn.
void input_grad(const ConvShape& s, const float* g, const Tensor& w, float* gx) {
  ConvShape t = s;
  std::swap(t.c, t.o);
  std::swap(t.h, t.ho);
  std::swap(t.w, t.wo);
  t.ph = 2 - s.ph;
  t.pw = 2 - s.pw;
  const FilterView view{w.data<float>() + 8 * s.c, 1, 9 * s.c, -3 * s.c, -s.c};
  const auto filters = packed(w, "winograd 4x4 3x3 input_grad", t.c, t.o, view);
  run(t, g, static_cast<const float*>(filters->data), {}, gx);
}

void weight_grad(const ConvShape& s, const float* g, const float* x, float* gw) {
  const TileGrid grid(s);
  // Blocks of tiles whose transformed patches and gradients stay in cache; of fixed size, so that
  // sums do not depend on the number of threads.
  const int64_t tiles_most =
      std::clamp<int64_t>(kCachedFloats / (kPoints * (s.c + s.o)) / 8 * 8, 32, 512);
  const int64_t blocks = (grid.count + tiles_most - 1) / tiles_most;
  const int64_t tiles_per = (grid.count + blocks - 1) / blocks;
  const int64_t x_row = round_up(s.c, kPanelLanes) + kPanelLanes, x_point = tiles_per * x_row;
  const int64_t g_row = round_up(s.o, kPanelLanes) + kPanelLanes, g_point = tiles_per * g_row;
  const Tensor patches = empty({kPoints * x_point}), gradients = empty({kPoints * g_point});
  float *vx = patches.data<float>(), *vg = gradients.data<float>();
  const std::vector<float> zeros(static_cast<size_t>(std::max(s.c, s.o) + kPanelLanes));
  const int64_t panels = (s.c + kPanelColumns - 1) / kPanelColumns;
  const int64_t row_blocks = (s.o + kPanelRows - 1) / kPanelRows;
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t first = block * tiles_per, tiles = std::min(tiles_per, grid.count - first);
    parallel_for(0, tiles, 1, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const TilePlace at = place(grid, first + t);
        load_tile(s, x, zeros.data(), at, vx + t * x_row, x_point);
        load_gradient_tile(s, g, zeros.data(), at, vg + t * g_row, g_point);
      }
    });
    parallel_for(0, panels * row_blocks, 1, [&](int64_t begin, int64_t end) {
      constexpr int64_t kPoint = kPanelRows * kPanelColumns + kPanelLanes;
      thread_local const std::unique_ptr<float[]> m(new float[kPoints * kPoint]);
      for (int64_t task = begin; task < end; ++task) {
        const int64_t column = task / row_blocks * kPanelColumns;
        const int64_t o = task % row_blocks * kPanelRows;
        const int64_t width = std::min(kPanelColumns, s.c - column);
        const int vectors = static_cast<int>((width + kPanelLanes - 1) / kPanelLanes);
        const int64_t stride = vectors * kPanelLanes;
        for (int point = 0; point < kPoints; ++point)
          cpu::panel_gemm(std::min(kPanelRows, s.o - o), vectors,
                          {vg + point * g_point + o, 1, g_row}, vx + point * x_point + column,
                          x_row, m.get() + point * kPoint, stride, tiles);
        for (int64_t r = 0; r < std::min(kPanelRows, s.o - o); ++r)
          store_filter(m.get() + r * stride, kPoint, width, s.c, block > 0,
                       gw + (o + r) * 9 * s.c + column);
      }
    });
  }
}

}  // namespace tessera::conv::winograd

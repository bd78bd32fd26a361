#include <limits>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "ops/cpu/lanes.h"
#include "ops/pool/max_pool.h"
#include "tensor/parallel.h"

namespace tessera {
namespace {

// Rows per task such that a task touches about 64K elements.
int64_t row_grain(int64_t elements_per_row) {
  return std::max<int64_t>(1, 65536 / std::max<int64_t>(1, elements_per_row));
}

// What one channel, or for f32 a vector of them, is computed in; indices have as many lanes.
template <class T>
struct OneLane {
  using Value = compute_t<T>;
  using Index = int32_t;
  static constexpr int64_t kLanes = 1;

  static Value load(const T* p) { return static_cast<Value>(*p); }
  static int32_t load(const int32_t* p) { return *p; }
  static void store(T* p, Value v) { *p = static_cast<T>(v); }
  static void stream(T* p, Value v) { store(p, v); }
  static void store(int32_t* p, int32_t v) { *p = v; }
};

struct FloatLanes {
  using Value = cpu::PanelRegister;
  static constexpr int64_t kLanes = cpu::kPanelLanes;
  typedef int32_t Index __attribute__((vector_size(kLanes * 4)));
  // In memory, where it may lie anywhere: a property that arguments of templates lose.
  typedef int32_t IndexInMemory __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

  static Value load(const float* p) { return cpu::load_lanes(p); }
  static Index load(const int32_t* p) { return *reinterpret_cast<const IndexInMemory*>(p); }
  static void store(float* p, const Value& v) { cpu::store_lanes(p, v); }
  static void stream(float* p, const Value& v) { cpu::stream_lanes(p, v); }
  static void store(int32_t* p, const Index& v) { *reinterpret_cast<IndexInMemory*>(p) = v; }
};

// f.operator()<L, vectors>(c) for all channels, four vectors together where there are as many.
template <class T, class F>
void for_channels(int64_t channels, F&& f) {
  constexpr int64_t kLanes = FloatLanes::kLanes;
  int64_t c = 0;
  if constexpr (std::is_same_v<T, float>) {
    for (; c + 4 * kLanes <= channels; c += 4 * kLanes) f.template operator()<FloatLanes, 4>(c);
    for (; c + kLanes <= channels; c += kLanes) f.template operator()<FloatLanes, 1>(c);
  }
  for (; c < channels; ++c) f.template operator()<OneLane<T>, 1>(c);
}

// One window: best and (kIndex) where are C long; `pixels` are its pixels inside the image.
template <bool kIndex, class T>
void max_window(const T* image, std::span<const int32_t> pixels, int64_t channels, T* best,
                int32_t* where) {
  for_channels<T>(channels, [&]<class L, int kVectors>(int64_t c) {
    using V = typename L::Value;
    using I = typename L::Index;
    constexpr int64_t kLanes = L::kLanes;
    V most[kVectors];
    I at[kVectors];
    for (int u = 0; u < kVectors; ++u) {
      most[u] = L::load(image + pixels[0] * channels + c + u * kLanes);
      at[u] = I{} + pixels[0];
    }
    for (const int32_t pixel : pixels.subspan(1)) {
      const T* from = image + pixel * channels + c;
      for (int u = 0; u < kVectors; ++u) {
        const V v = L::load(from + u * kLanes);
        const auto wins = (v > most[u]) | (v != v);
        most[u] = wins ? v : most[u];
        if constexpr (kIndex) at[u] = wins ? I{} + pixel : at[u];
      }
    }
    for (int u = 0; u < kVectors; ++u) {
      L::store(best + c + u * kLanes, most[u]);
      if constexpr (kIndex) L::store(where + c + u * kLanes, at[u]);
    }
  });
}

// One task owns whole output rows (n, i).
template <bool kIndex, class T>
void max_pool(const Tensor& x_, const Windows& win, Tensor& y_, Tensor* indices) {
  const T* x = x_.data<T>();
  T* y = y_.data<T>();
  int32_t* index = kIndex ? indices->data<int32_t>() : nullptr;
  const int64_t channels = x_.size(3), width = win.w.in;
  const int64_t row = win.w.out * channels;
  parallel_for(0, x_.size(0) * win.h.out, row_grain(row), [&](int64_t begin, int64_t end) {
    constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
    std::vector<int32_t> pixels;
    for (int64_t r = begin; r < end; ++r) {
      const T* image = x + r / win.h.out * win.h.in * width * channels;
      const int64_t i = r % win.h.out;
      for (int64_t j = 0; j < win.w.out; ++j) {
        T* best = y + r * row + j * channels;
        int32_t* where = kIndex ? index + r * row + j * channels : nullptr;
        pixels.clear();
        for (int64_t h = win.h.begin(i); h < win.h.end(i); h += win.h.step())
          for (int64_t w = win.w.begin(j); w < win.w.end(j); w += win.w.step())
            pixels.push_back(static_cast<int32_t>(h * width + w));
        // What the window below will read first.
        for (int64_t h = win.h.end(i); h < std::min(win.h.end(i + 1), win.h.in); ++h)
          for (int64_t w = win.w.begin(j); w < std::min(win.w.begin(j + 1), width); ++w)
            for (int64_t c = 0; c < channels; c += kLine)
              __builtin_prefetch(image + (h * width + w) * channels + c, 0, 2);
        if (!pixels.empty()) {
          max_window<kIndex>(image, std::span<const int32_t>(pixels), channels, best, where);
          continue;
        }
        for (int64_t c = 0; c < channels; ++c) {
          best[c] = static_cast<T>(-std::numeric_limits<compute_t<T>>::infinity());
          if constexpr (kIndex) where[c] = -1;
        }
      }
    }
  });
}

void max_pool2d_cpu(const Tensor& x, const Windows& windows, Tensor& y, Tensor& indices) {
  dispatch_floating(x.dtype(), "max_pool2d", [&]<class T>() {
    if (indices.defined()) {
      max_pool<true, T>(x, windows, y, &indices);
    } else {
      max_pool<false, T>(x, windows, y, nullptr);
    }
  });
}

// The windows over one input pixel.
struct Covering {
  int64_t rows, columns;
  int64_t row;  // elements of g between rows of windows
};

// The gradient of `U` vectors of channels of the pixel with index `pixel`.
template <class L, int U, class T>
inline void scatter_channels(const T* g, const int32_t* index, const Covering& over,
                             int64_t channels, int32_t pixel, bool stream, T* out) {
  using V = typename L::Value;
  using I = typename L::Index;
  V sum[U] = {};
  const I self = I{} + pixel;
  for (int64_t i = 0; i < over.rows; ++i)
    for (int64_t j = 0; j < over.columns; ++j) {
      const int64_t at = i * over.row + j * channels;
      for (int u = 0; u < U; ++u) {
        const auto won = L::load(index + at + u * L::kLanes) == self;
        sum[u] += won ? L::load(g + at + u * L::kLanes) : V{};
      }
    }
  for (int u = 0; u < U; ++u) {
    if (stream)
      L::stream(out + u * L::kLanes, sum[u]);
    else
      L::store(out + u * L::kLanes, sum[u]);
  }
}

// One task owns whole input rows (n, h) and asks the windows over each pixel whether it won: no
// races, every gradient element is written once, and the sum has a fixed order.
template <class T>
void scatter(const Tensor& g_, const Tensor& indices, const Windows& win, Tensor& gx_) {
  const T* g = g_.data<T>();
  const int32_t* index = indices.data<int32_t>();
  T* gx = gx_.data<T>();
  const int64_t channels = g_.size(3), width = win.w.in;
  const int64_t row = win.w.out * channels;
  const int64_t grain = row_grain(width * channels);
  const bool stream = std::is_same_v<T, float> && cpu::can_stream(gx, channels * 4, gx_.nbytes());
  std::vector<std::pair<int64_t, int64_t>> columns;  // the first window over a pixel, and how many
  for (int64_t w = 0; w < width; ++w) {
    const int64_t first = win.w.first_output(w);
    columns.emplace_back(first * channels, win.w.last_output(w) - first + 1);
  }
  parallel_for(0, g_.size(0) * win.h.in, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t n = r / win.h.in, h = r % win.h.in;
      const int64_t first = win.h.first_output(h);
      const int64_t rows = win.h.last_output(h) - first + 1;
      const int64_t start = (n * win.h.out + first) * row;
      for (int64_t w = 0; w < width; ++w) {
        const auto [column, count] = columns[static_cast<size_t>(w)];
        const int64_t from = start + column;
        const Covering over{rows, count, row};
        const auto pixel = static_cast<int32_t>(h * width + w);
        T* out = gx + (r * width + w) * channels;
        for_channels<T>(channels, [&]<class L, int kVectors>(int64_t c) {
          scatter_channels<L, kVectors>(g + from + c, index + from + c, over, channels, pixel,
                                        stream, out + c);
        });
      }
    }
    if (stream) cpu::stream_fence();
  });
}

void scatter_cpu(const Tensor& g, const Tensor& indices, const Windows& windows, Tensor& gx) {
  dispatch_floating(g.dtype(), "max_pool2d_scatter",
                    [&]<class T>() { scatter<T>(g, indices, windows, gx); });
}

void gather_cpu(const Tensor& x_, const Tensor& indices, const Windows& win, Tensor& y_) {
  dispatch_floating(x_.dtype(), "max_pool2d_gather", [&]<class T>() {
    const T* x = x_.data<T>();
    const int32_t* index = indices.data<int32_t>();
    T* y = y_.data<T>();
    const int64_t channels = x_.size(3), row = win.w.out * channels;
    parallel_for(0, x_.size(0) * win.h.out, row_grain(row), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T* image = x + r / win.h.out * win.h.in * win.w.in * channels;
        for (int64_t k = r * row; k < (r + 1) * row; ++k)
          y[k] = index[k] < 0 ? T(0.0f) : image[index[k] * channels + k % channels];
      }
    });
  });
}

}  // namespace

TESSERA_KERNEL(max_pool2d, cpu, max_pool2d_cpu);
TESSERA_KERNEL(max_pool2d_scatter, cpu, scatter_cpu);
TESSERA_KERNEL(max_pool2d_gather, cpu, gather_cpu);

}  // namespace tessera

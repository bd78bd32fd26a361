#include <limits>
#include <type_traits>
#include <vector>

#include "ops/pool/max_pool.h"
#include "tensor/parallel.h"

namespace tessera {
namespace {

// Rows per task such that a task touches about 64K elements.
int64_t row_grain(int64_t elements_per_row) {
  return std::max<int64_t>(1, 65536 / std::max<int64_t>(1, elements_per_row));
}

// best and (kIndex) where are C long and hold the running result of one window; they stay in L1.
template <bool kIndex, class T>
void take_pixel(const T* __restrict__ x, int32_t pixel, int64_t channels, T* __restrict__ best,
                int32_t* __restrict__ where) {
  using C = compute_t<T>;
  for (int64_t c = 0; c < channels; ++c) {
    const C v = x[c], m = best[c];
    const bool wins = (v > m) | (v != v);
    best[c] = wins ? x[c] : best[c];
    if constexpr (kIndex) where[c] = wins ? pixel : where[c];
  }
}

template <bool kIndex, class T>
void start_window(const T* __restrict__ x, int32_t pixel, int64_t channels, T* __restrict__ best,
                  int32_t* __restrict__ where) {
  for (int64_t c = 0; c < channels; ++c) {
    best[c] = x[c];
    if constexpr (kIndex) where[c] = pixel;
  }
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
    for (int64_t r = begin; r < end; ++r) {
      const T* image = x + r / win.h.out * win.h.in * width * channels;
      const int64_t i = r % win.h.out;
      for (int64_t j = 0; j < win.w.out; ++j) {
        T* best = y + r * row + j * channels;
        int32_t* where = kIndex ? index + r * row + j * channels : nullptr;
        bool started = false;
        for (int64_t h = win.h.begin(i); h < win.h.end(i); h += win.h.step()) {
          for (int64_t w = win.w.begin(j); w < win.w.end(j); w += win.w.step()) {
            const int64_t pixel = h * width + w;
            const auto take = started ? take_pixel<kIndex, T> : start_window<kIndex, T>;
            take(image + pixel * channels, static_cast<int32_t>(pixel), channels, best, where);
            started = true;
          }
        }
        if (started) continue;
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

// sum (+)= g where this pixel won; `first` starts the sum.
template <class T, class C>
void collect(const T* __restrict__ g, const int32_t* __restrict__ winner, int32_t pixel,
             int64_t channels, bool first, C* __restrict__ sum) {
  if (first) {
    for (int64_t c = 0; c < channels; ++c)
      sum[c] = winner[c] == pixel ? static_cast<C>(g[c]) : C(0);
  } else {
    for (int64_t c = 0; c < channels; ++c)
      sum[c] += winner[c] == pixel ? static_cast<C>(g[c]) : C(0);
  }
}

// One task owns whole input rows (n, h) and asks the windows over each pixel whether it won: no
// races, every gradient element is written once, and the sum has a fixed order. Half types sum in
// a float buffer, the others in place.
template <class T>
void scatter(const Tensor& g_, const Tensor& indices, const Windows& win, Tensor& gx_) {
  using C = compute_t<T>;
  constexpr bool kInPlace = std::is_same_v<T, C>;
  const T* g = g_.data<T>();
  const int32_t* index = indices.data<int32_t>();
  T* gx = gx_.data<T>();
  const int64_t channels = g_.size(3), width = win.w.in;
  const int64_t row = win.w.out * channels;
  const int64_t grain = row_grain(width * channels);
  parallel_for(0, g_.size(0) * win.h.in, grain, [&](int64_t begin, int64_t end) {
    std::vector<C> buffer(static_cast<size_t>(kInPlace ? 0 : channels));
    for (int64_t r = begin; r < end; ++r) {
      const int64_t n = r / win.h.in, h = r % win.h.in;
      const int64_t i0 = win.h.first_output(h), i1 = win.h.last_output(h);
      for (int64_t w = 0; w < width; ++w) {
        T* out = gx + (r * width + w) * channels;
        C* sum = buffer.data();
        if constexpr (kInPlace) sum = out;
        const int64_t j0 = win.w.first_output(w), j1 = win.w.last_output(w);
        if (i0 > i1 || j0 > j1) std::fill(sum, sum + channels, C(0));
        for (int64_t i = i0; i <= i1; ++i) {
          for (int64_t j = j0; j <= j1; ++j) {
            const int64_t at = (n * win.h.out + i) * row + j * channels;
            collect(g + at, index + at, static_cast<int32_t>(h * width + w), channels,
                    i == i0 && j == j0, sum);
          }
        }
        if constexpr (!kInPlace)
          for (int64_t c = 0; c < channels; ++c) out[c] = static_cast<T>(sum[c]);
      }
    }
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

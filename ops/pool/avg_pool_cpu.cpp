#include <vector>

#include "ops/pool/avg_pool.h"
#include "tensor/parallel.h"

namespace tessera {
namespace {

// Windows wider than this are summed row by row and the rows then added, which keeps the rounding
// error of a global mean at that of height + width additions.
constexpr int64_t kDirectWidth = 8;

template <class T, class C>
void add_pixel(const T* __restrict__ x, int64_t channels, C* __restrict__ sum) {
  for (int64_t c = 0; c < channels; ++c) sum[c] += static_cast<C>(x[c]);
}

// Sums window (i, j) of one image, channels [0, channels) from `image` on, into sum.
template <class T, class C>
void sum_window(const T* image, const Windows& win, int64_t i, int64_t j, int64_t stride,
                int64_t channels, C* sum, C* row) {
  const int64_t w0 = win.w.begin(j), w1 = win.w.end(j);
  std::fill(sum, sum + channels, C(0));
  for (int64_t h = win.h.begin(i); h < win.h.end(i); ++h) {
    const bool direct = w1 - w0 <= kDirectWidth;
    C* to = direct ? sum : row;
    if (!direct) std::fill(row, row + channels, C(0));
    for (int64_t w = w0; w < w1; ++w) add_pixel(image + (h * win.w.in + w) * stride, channels, to);
    if (!direct) add_pixel(row, channels, sum);
  }
}

// A task owns (n, i, block): output rows, cut further into blocks of channels when there are few.
template <class T>
void window_mean(const Tensor& x_, const Windows& win, Tensor& y_) {
  using C = compute_t<T>;
  const T* x = x_.data<T>();
  T* y = y_.data<T>();
  const int64_t channels = x_.size(3), rows = x_.size(0) * win.h.out;
  const int64_t block = rows >= 64 ? channels : 128;
  const int64_t blocks = block ? (channels + block - 1) / block : 0;
  const int64_t work = x_.numel() / std::max<int64_t>(1, rows * blocks);
  const int64_t grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, work));
  parallel_for(0, rows * blocks, grain, [&](int64_t begin, int64_t end) {
    std::vector<C> sum(static_cast<size_t>(block)), row(static_cast<size_t>(block));
    for (int64_t task = begin; task < end; ++task) {
      const int64_t r = task / blocks, c0 = task % blocks * block;
      const int64_t count = std::min(block, channels - c0);
      const T* image = x + r / win.h.out * win.h.in * win.w.in * channels + c0;
      for (int64_t j = 0; j < win.w.out; ++j) {
        sum_window(image, win, r % win.h.out, j, channels, count, sum.data(), row.data());
        const C scale = win.inverse_divisor<C>(r % win.h.out, j);
        T* __restrict__ out = y + (r * win.w.out + j) * channels + c0;
        for (int64_t c = 0; c < count; ++c) out[c] = static_cast<T>(sum[c] * scale);
      }
    }
  });
}

void window_mean_cpu(const Tensor& x, const Windows& windows, Tensor& y) {
  dispatch_floating(x.dtype(), "window_mean", [&]<class T>() { window_mean<T>(x, windows, y); });
}

// One task owns whole image rows (n, h) and collects from the windows over each pixel.
template <class T>
void window_spread(const Tensor& y_, const Windows& win, Tensor& x_) {
  using C = compute_t<T>;
  const T* y = y_.data<T>();
  T* x = x_.data<T>();
  const int64_t channels = y_.size(3), width = win.w.in;
  const int64_t row = win.w.out * channels;
  const int64_t grain = std::max<int64_t>(1, 65536 / std::max<int64_t>(1, width * channels));
  parallel_for(0, y_.size(0) * win.h.in, grain, [&](int64_t begin, int64_t end) {
    std::vector<C> sum(static_cast<size_t>(channels));
    for (int64_t r = begin; r < end; ++r) {
      const int64_t n = r / win.h.in, h = r % win.h.in;
      for (int64_t w = 0; w < width; ++w) {
        C* __restrict__ s = sum.data();
        std::fill(sum.begin(), sum.end(), C(0));
        for (int64_t i = win.h.first_output(h); i <= win.h.last_output(h); ++i) {
          for (int64_t j = win.w.first_output(w); j <= win.w.last_output(w); ++j) {
            const C scale = win.inverse_divisor<C>(i, j);
            const T* __restrict__ from = y + (n * win.h.out + i) * row + j * channels;
            for (int64_t c = 0; c < channels; ++c) s[c] += static_cast<C>(from[c]) * scale;
          }
        }
        T* __restrict__ out = x + (r * width + w) * channels;
        for (int64_t c = 0; c < channels; ++c) out[c] = static_cast<T>(s[c]);
      }
    }
  });
}

void window_spread_cpu(const Tensor& y, const Windows& windows, Tensor& x) {
  dispatch_floating(y.dtype(), "window_spread",
                    [&]<class T>() { window_spread<T>(y, windows, x); });
}

}  // namespace

TESSERA_KERNEL(window_mean, cpu, window_mean_cpu);
TESSERA_KERNEL(window_spread, cpu, window_spread_cpu);

}  // namespace tessera

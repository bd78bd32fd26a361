#pragma once

#include <functional>
#include <vector>

#include "ops/pool/window.h"
#include "tests/ops/op_case.h"

namespace tessera::testing {

/// The input positions of one pooling window along one axis, without those in the padding.
using Taps = std::vector<int64_t>;

/// Windows of a regular pooling, counted out from the definition.
inline std::vector<Taps> regular_taps(int64_t in, int64_t kernel, int64_t stride, int64_t padding,
                                      int64_t dilation, bool ceil_mode) {
  std::vector<Taps> windows;
  for (int64_t start = -padding;; start += stride) {
    const int64_t last = start + dilation * (kernel - 1);
    const bool inside = last < in + padding;
    // With ceil_mode one more window may hang over the far border if it starts inside it and the
    // windows so far have not used up the padded input.
    const bool overhangs = ceil_mode && start < in + padding && last - stride < in + padding - 1;
    if (!inside && !(overhangs && start < in)) break;
    Taps taps;
    for (int64_t k = 0; k < kernel; ++k) {
      const int64_t at = start + k * dilation;
      if (at >= 0 && at < in) taps.push_back(at);
    }
    windows.push_back(taps);
  }
  return windows;
}

inline std::vector<Taps> bin_taps(int64_t in, int64_t out) {
  std::vector<Taps> windows(static_cast<size_t>(out));
  for (int64_t o = 0; o < out; ++o)
    for (int64_t i = 0; i < in; ++i)
      if ((i + 1) * out > o * in && i * out < (o + 1) * in)
        windows[static_cast<size_t>(o)].push_back(i);
  return windows;
}

/// y[n, i, j, c] = fn(elements of the window in row-major order, i, j) for an f64 (N, H, W, C) x.
inline Tensor pool64(
    const Tensor& x, const std::vector<Taps>& rows, const std::vector<Taps>& columns,
    const std::function<double(const std::vector<double>&, int64_t, int64_t)>& fn) {
  const std::vector<double> v = x.to_vector<double>();
  const int64_t height = x.size(1), width = x.size(2), channels = x.size(3);
  const auto oh = static_cast<int64_t>(rows.size()), ow = static_cast<int64_t>(columns.size());
  std::vector<double> y;
  for (int64_t n = 0; n < x.size(0); ++n)
    for (int64_t i = 0; i < oh; ++i)
      for (int64_t j = 0; j < ow; ++j)
        for (int64_t c = 0; c < channels; ++c) {
          std::vector<double> window;
          for (int64_t h : rows[static_cast<size_t>(i)])
            for (int64_t w : columns[static_cast<size_t>(j)])
              window.push_back(
                  v[static_cast<size_t>(((n * height + h) * width + w) * channels + c)]);
          y.push_back(fn(window, i, j));
        }
  return from_vector(y, {x.size(0), oh, ow, channels});
}

}  // namespace tessera::testing

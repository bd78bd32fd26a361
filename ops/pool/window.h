#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "ops/size2.h"
#include "tensor/macros.h"
#include "tensor/shape.h"

namespace tessera {

/// The stride an options struct means: `kernel` where it was left at 0.
constexpr Size2 stride_or_kernel(Size2 stride, Size2 kernel) {
  return {stride.h == 0 ? kernel.h : stride.h, stride.w == 0 ? kernel.w : stride.w};
}

/// Where the pooling windows of one axis lie: output o reads inputs begin(o), begin(o) + step, ...
/// before end(o), clipped to the input. Both bounds never decrease with o, so the windows that
/// cover an input are neighbours: first_output(i) .. last_output(i). Plain numbers, usable in
/// kernels.
struct WindowAxis {
  int64_t in = 0, out = 0;
  int64_t kernel = 1, stride = 1, padding = 0, dilation = 1;
  bool adaptive = false;        // bins floor(o in / out) .. ceil((o + 1) in / out)
  bool counts_padding = false;  // count(o) includes the explicit padding

  TESSERA_HD int64_t step() const { return adaptive ? 1 : dilation; }
  TESSERA_HD int64_t begin(int64_t o) const {
    if (adaptive) return o * in / out;
    const int64_t start = o * stride - padding;
    return start >= 0 ? start : start + (-start + dilation - 1) / dilation * dilation;
  }
  TESSERA_HD int64_t end(int64_t o) const {
    if (adaptive) return ((o + 1) * in + out - 1) / out;
    const int64_t stop = o * stride - padding + (kernel - 1) * dilation + 1;
    return stop < in ? stop : in;
  }
  /// Elements that an average over window o divides by (dilation 1).
  TESSERA_HD int64_t count(int64_t o) const {
    if (!counts_padding) return end(o) - begin(o);
    const int64_t start = o * stride - padding;
    const int64_t stop = start + kernel < in + padding ? start + kernel : in + padding;
    return stop - start;
  }
  TESSERA_HD int64_t first_output(int64_t i) const {
    if (adaptive) return i * out / in;
    const int64_t past = i + padding - (kernel - 1) * dilation;  // outputs start at or after it
    return past <= 0 ? 0 : (past + stride - 1) / stride;
  }
  TESSERA_HD int64_t last_output(int64_t i) const {
    const int64_t last = adaptive ? ((i + 1) * out + in - 1) / in - 1 : (i + padding) / stride;
    return last < out ? last : out - 1;
  }
};

/// The windows of a (N, H, W, C) image batch.
struct Windows {
  WindowAxis h, w;
  int64_t divisor = 0;  // of averages; 0: the product of the axes' counts
};

/// Windows of kernel x stride x padding x dilation. Output size floor((in + 2 padding - dilation
/// (kernel - 1) - 1) / stride) + 1, or the ceiling of the quotient with ceil_mode, where a last
/// window that would start at or past in + padding is dropped. Throws ShapeError unless `image` is
/// (N, H, W, C) with at least one window, ValueError for kernel, stride or dilation outside [1,
/// 2^31) or a padding outside [0, half the window]; messages start with `op`.
Windows make_windows(const Shape& image, Size2 kernel, Size2 stride, Size2 padding, Size2 dilation,
                     bool ceil_mode, std::string_view op);
/// out.h x out.w bins of nearly equal size. Throws ShapeError unless `image` is (N, H, W, C) with
/// H, W >= 1, ValueError for an output size < 1.
Windows make_bins(const Shape& image, Size2 out, std::string_view op);

}  // namespace tessera

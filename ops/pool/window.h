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
/// kernels; `Int` is what it counts in.
template <class Int>
struct WindowAxisOf {
  Int in = 0, out = 0;
  Int kernel = 1, stride = 1, padding = 0, dilation = 1;
  bool adaptive = false;        // bins floor(o in / out) .. ceil((o + 1) in / out)
  bool counts_padding = false;  // count(o) includes the explicit padding

  /// The same in other numbers; fits_32_bits() tells whether 32 bits hold all that is computed.
  template <class Other>
  WindowAxisOf<Other> as() const {
    const auto n = [](Int v) { return static_cast<Other>(v); };
    return {n(in), n(out), n(kernel), n(stride), n(padding), n(dilation), adaptive, counts_padding};
  }
  bool fits_32_bits() const {
    constexpr Int kMost = Int{1} << 29;
    if (adaptive) return (in + 1) <= kMost / (out + 1);
    return in + padding < kMost && kernel <= kMost / dilation && (out + 1) <= kMost / stride;
  }

  TESSERA_HD Int step() const { return adaptive ? 1 : dilation; }
  TESSERA_HD Int begin(Int o) const {
    if (adaptive) return o * in / out;
    const Int start = o * stride - padding;
    return start >= 0 ? start : start + (-start + dilation - 1) / dilation * dilation;
  }
  TESSERA_HD Int end(Int o) const {
    if (adaptive) return ((o + 1) * in + out - 1) / out;
    const Int stop = o * stride - padding + (kernel - 1) * dilation + 1;
    return stop < in ? stop : in;
  }
  /// Elements that an average over window o divides by (dilation 1).
  TESSERA_HD Int count(Int o) const {
    if (!counts_padding) return end(o) - begin(o);
    const Int start = o * stride - padding;
    const Int stop = start + kernel < in + padding ? start + kernel : in + padding;
    return stop - start;
  }
  TESSERA_HD Int first_output(Int i) const {
    if (adaptive) return i * out / in;
    const Int past = i + padding - (kernel - 1) * dilation;  // outputs start at or after it
    return past <= 0 ? 0 : (past + stride - 1) / stride;
  }
  TESSERA_HD Int last_output(Int i) const {
    const Int last = adaptive ? ((i + 1) * out + in - 1) / in - 1 : (i + padding) / stride;
    return last < out ? last : out - 1;
  }
};
using WindowAxis = WindowAxisOf<int64_t>;

/// The windows of a (N, H, W, C) image batch.
template <class Int>
struct WindowsOf {
  WindowAxisOf<Int> h, w;
  Int divisor = 0;  // of averages; 0: the product of the axes' counts

  template <class Other>
  WindowsOf<Other> as() const {
    return {h.template as<Other>(), w.template as<Other>(), static_cast<Other>(divisor)};
  }
  bool fit_32_bits() const { return h.fits_32_bits() && w.fits_32_bits() && divisor <= INT32_MAX; }
  /// What the sum over window (i, j) is multiplied by for an average.
  template <class C>
  TESSERA_HD C inverse_divisor(Int i, Int j) const {
    if (divisor != 0) return C(1) / static_cast<C>(divisor);
    return C(1) / static_cast<C>(static_cast<int64_t>(h.count(i)) * w.count(j));
  }
};
using Windows = WindowsOf<int64_t>;

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

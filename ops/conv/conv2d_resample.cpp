#include "ops/conv/conv2d_resample.h"

#include <algorithm>
#include <cmath>

#include "ops/conv/conv2d.h"
#include "ops/image/upfirdn2d.h"
#include "ops/index/flip.h"
#include "ops/index/view.h"
#include "ops/linalg/matmul.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/power.h"
#include "ops/pointwise/rounding.h"
#include "ops/reduce/extreme.h"
#include "ops/reduce/sum.h"

namespace tessera {
namespace {

// n / 2, rounded down where n is negative too.
int64_t half(int64_t n) { return n >= 0 ? n / 2 : -((1 - n) / 2); }

Tensor oriented(const Tensor& w, bool as_is) { return as_is ? w : flip(w, {1, 2}); }

/// Filters of the adjoint: (O, KH, KW, C / groups) to (C, KH, KW, O / groups).
Tensor exchanged(const Tensor& w, int64_t groups) {
  if (groups == 1) return permute(w, {3, 1, 2, 0});
  const int64_t o = w.size(0) / groups, kh = w.size(1), kw = w.size(2), c = w.size(3);
  return reshape(permute(reshape(w, {groups, o, kh, kw, c}), {0, 4, 2, 3, 1}),
                 {groups * c, kh, kw, o});
}

// The padding that keeps an image resampled with the filter in its place.
ImagePad with_filter(ImagePad p, const Tensor& filter, int64_t up, int64_t down) {
  const int64_t th = filter.defined() ? filter.size(0) : 1;
  const int64_t tw = filter.defined() ? filter.size(-1) : 1;
  const auto add = [](int64_t& before, int64_t& after, int64_t front, int64_t back) {
    before += half(front);
    after += half(back);
  };
  if (up > 1) {
    add(p.left, p.right, tw + up - 1, tw - up);
    add(p.top, p.bottom, th + up - 1, th - up);
  }
  if (down > 1) {
    add(p.left, p.right, tw - down + 1, tw - down);
    add(p.top, p.bottom, th - down + 1, th - down);
  }
  return p;
}

/// A transposed convolution of stride `up` makes the enlarged image's convolution at once; the
/// filter comes after it, and the padding, which may have shrunk what is computed in between.
Tensor enlarged(const Tensor& x, const Tensor& w, const Tensor& filter, ImagePad p,
                const Conv2dResampleOptions& o) {
  const double gain = static_cast<double>(o.up * o.up);
  p.left -= w.size(2) - 1;
  p.right -= w.size(2) - o.up;
  p.top -= w.size(1) - 1;
  p.bottom -= w.size(1) - o.up;
  const int64_t cut_h = std::max<int64_t>(std::min(-p.top, -p.bottom), 0);
  const int64_t cut_w = std::max<int64_t>(std::min(-p.left, -p.right), 0);
  const Tensor y =
      conv_transpose2d(x, exchanged(oriented(w, !o.flip_weight), o.groups), {},
                       {.stride = o.up, .padding = {cut_h, cut_w}, .groups = o.groups});
  const ImagePad rest{p.left + cut_w, p.right + cut_w, p.top + cut_h, p.bottom + cut_h};
  return upfirdn2d(y, filter, {.padding = rest, .gain = gain, .flip_filter = o.flip_filter});
}

}  // namespace

Tensor conv2d_resample(const Tensor& x, const Tensor& w, const Tensor& filter,
                       const Conv2dResampleOptions& o) {
  TESSERA_CHECK(ValueError, o.up >= 1 && o.down >= 1,
                "conv2d_resample: up and down must be at least 1, got ", o.up, " and ", o.down);
  TESSERA_CHECK(ShapeError, x.rank() == 4 && w.rank() == 4, "conv2d_resample: expects images ",
                "(N, H, W, C) and filters (O, KH, KW, C / groups), got ", x.shape(), " and ",
                w.shape());
  const ImagePad p = with_filter(o.padding, filter, o.up, o.down);
  const double gain = static_cast<double>(o.up * o.up);
  const bool one_by_one = w.size(1) == 1 && w.size(2) == 1;
  const auto convolve = [&](const Tensor& image, int64_t stride, Size2 padding) {
    return conv2d(image, oriented(w, o.flip_weight), {},
                  {.stride = stride, .padding = padding, .groups = o.groups});
  };
  const auto resample = [&](const Tensor& image, int64_t up, int64_t down, const ImagePad& pad,
                            double by) {
    return upfirdn2d(
        image, filter,
        {.up = up, .down = down, .padding = pad, .gain = by, .flip_filter = o.flip_filter});
  };
  if (one_by_one && o.down > 1 && o.up == 1) return convolve(resample(x, 1, o.down, p, 1), 1, 0);
  if (one_by_one && o.up > 1 && o.down == 1) return resample(convolve(x, 1, 0), o.up, 1, p, gain);
  if (o.down > 1 && o.up == 1) return convolve(resample(x, 1, 1, p, 1), o.down, 0);
  if (o.up > 1) {
    const Tensor y = enlarged(x, w, filter, p, o);
    return o.down == 1 ? y : resample(y, 1, o.down, {}, 1);
  }
  if (p.left == p.right && p.top == p.bottom && p.left >= 0 && p.top >= 0)
    return convolve(x, 1, {p.top, p.left});
  return convolve(upfirdn2d(x, {}, {.padding = p}), 1, 0);
}

Tensor modulated_conv2d(const Tensor& x, const Tensor& weight, const Tensor& styles,
                        const Tensor& filter, const ModulatedConv2dOptions& o) {
  TESSERA_CHECK(
      ShapeError, x.rank() == 4 && weight.rank() == 4, "modulated_conv2d: expects images ",
      "(N, H, W, C) and filters (O, KH, KW, C), got ", x.shape(), " and ", weight.shape());
  const int64_t images = x.size(0), channels = x.size(3);
  TESSERA_CHECK(ShapeError, styles.shape() == (Shape{images, channels}),
                "modulated_conv2d: styles must be ", Shape{images, channels}, ", got ",
                styles.shape());
  Tensor w = weight, s = styles;
  if (o.demodulate && size_of(x.dtype()) == 2) {
    const double fan_in = static_cast<double>(w.size(1) * w.size(2) * w.size(3));
    w = w / (amax(abs(w), {1, 2, 3}, true) * std::sqrt(fan_in));
    s = s / amax(abs(s), {1}, true);
  }
  Tensor scale;  // (N, 1, 1, O)
  if (o.demodulate) {
    const Tensor energy = sum(square(w), {1, 2});  // (O, C)
    scale = reshape(rsqrt(linear(square(s), energy) + 1e-8), {images, 1, 1, w.size(0)});
  }
  const DType dtype = x.dtype();
  Tensor y = x * cast(reshape(s, {images, 1, 1, channels}), dtype);
  y = conv2d_resample(
      y, cast(w, dtype), filter,
      {.up = o.up, .down = o.down, .padding = o.padding, .flip_weight = o.flip_weight});
  if (o.demodulate) y = y * cast(scale, dtype);
  return o.noise.defined() ? y + cast(o.noise, dtype) : y;
}

}  // namespace tessera

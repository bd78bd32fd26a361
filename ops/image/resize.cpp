#include "ops/image/resize.h"

#include <algorithm>
#include <cmath>

#include "ops/index/gather.h"

namespace tessera {

namespace {

/// Weight of a sample at distance d: Keys, "Cubic convolution interpolation", 1981, with a = -0.75.
double cubic(double d) {
  constexpr double a = -0.75;
  d = std::abs(d);
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  if (d < 2) return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  return 0;
}

double step_between_samples(int64_t in, int64_t out, bool align_corners, double scale) {
  if (align_corners)
    return out > 1 ? static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0.0;
  return scale > 0 ? 1 / scale : static_cast<double>(in) / static_cast<double>(out);
}

/// As torch: in float, because which of two neighbours a border case falls to depends on the
/// rounding; and without the given scale when the size stays or doubles.
int64_t nearest_source(int64_t o, int64_t in, int64_t out, double step) {
  if (out == in) return o;
  if (out == 2 * in) return o / 2;
  const float at = std::floor(static_cast<float>(o) * static_cast<float>(step));
  return std::min(static_cast<int64_t>(at), in - 1);
}

void check_image(const Tensor& x, const ResizeOptions& options) {
  TESSERA_CHECK(ShapeError, x.rank() == 4, "resize: expects images (N, H, W, C), got ", x.shape());
  TESSERA_CHECK(ShapeError, x.shape()[1] > 0 && x.shape()[2] > 0,
                "resize: the image has no pixels: ", x.shape());
  TESSERA_CHECK(ValueError, options.mode != ResizeMode::nearest || !options.align_corners,
                "resize: align_corners does not apply to nearest");
}

Tensor resize_with(const Tensor& x, int64_t height, int64_t width, const ResizeOptions& options,
                   double scale_h, double scale_w) {
  TESSERA_CHECK(ValueError, height >= 1 && width >= 1, "resize: size must be positive, got ",
                height, " x ", width, " for ", x.shape());
  AxisMap rows = resize_map(x.shape()[1], height, options, scale_h);
  AxisMap columns = resize_map(x.shape()[2], width, options, scale_w);
  const bool copies = options.mode == ResizeMode::nearest;
  if (copies && x.dtype() != DType::f32 && x.dtype() != DType::f64) {
    const Tensor picked = index_select(x, 1, from_vector(rows.index, {height}, x.device()));
    return index_select(picked, 2, from_vector(columns.index, {width}, x.device()));
  }
  return separable(x, std::make_shared<AxisMap>(std::move(rows)),
                   std::make_shared<AxisMap>(std::move(columns)));
}

}  // namespace

AxisMap resize_map(int64_t in, int64_t out, const ResizeOptions& options, double scale) {
  AxisMap map;
  map.in = in;
  const double step = step_between_samples(in, out, options.align_corners, scale);
  for (int64_t o = 0; o < out; ++o) {
    if (options.mode == ResizeMode::nearest) {
      map.tap(nearest_source(o, in, out, step), 1);
      map.next();
      continue;
    }
    if (options.mode == ResizeMode::bilinear && in == out) {  // as torch, whatever the scale
      map.tap(o, 1);
      map.next();
      continue;
    }
    const double centre = static_cast<double>(o);
    const double at = options.align_corners ? centre * step : (centre + 0.5) * step - 0.5;
    if (options.mode == ResizeMode::bilinear) {
      const double inside = std::max(at, 0.0);
      const int64_t low = std::min(static_cast<int64_t>(inside), in - 1);
      const double t = std::clamp(inside - static_cast<double>(low), 0.0, 1.0);
      map.tap(low, 1 - t);
      map.tap(std::min(low + 1, in - 1), t);
    } else {
      const auto low = static_cast<int64_t>(std::floor(at));
      for (int64_t k = low - 1; k <= low + 2; ++k)
        map.tap(std::clamp<int64_t>(k, 0, in - 1), cubic(at - static_cast<double>(k)));
    }
    map.next();
  }
  return map;
}

Tensor resize(const Tensor& x, const Shape& size, const ResizeOptions& options) {
  check_image(x, options);
  TESSERA_CHECK(ValueError, size.rank() == 2, "resize: size must be {height, width}, got ", size);
  return resize_with(x, size[0], size[1], options, 0, 0);
}

Tensor resize_by(const Tensor& x, double scale_h, double scale_w, const ResizeOptions& options) {
  check_image(x, options);
  TESSERA_CHECK(ValueError, scale_h > 0 && scale_w > 0, "resize: scales must be positive, got ",
                scale_h, " and ", scale_w);
  const auto scaled = [](int64_t n, double s) {
    return static_cast<int64_t>(std::floor(static_cast<double>(n) * s));
  };
  return resize_with(x, scaled(x.shape()[1], scale_h), scaled(x.shape()[2], scale_w), options,
                     scale_h, scale_w);
}

}  // namespace tessera

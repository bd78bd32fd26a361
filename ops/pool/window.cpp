#include "ops/pool/window.h"

namespace tessera {
namespace {

void check_image(const Shape& image, std::string_view op) {
  TESSERA_CHECK(ShapeError, image.rank() == 4, op, ": expects an image batch (N, H, W, C), got ",
                image);
}

WindowAxis make_axis(const Shape& image, int axis, int64_t kernel, int64_t stride, int64_t padding,
                     int64_t dilation, bool ceil_mode, std::string_view op) {
  TESSERA_CHECK(ValueError, kernel >= 1 && stride >= 1 && dilation >= 1, op,
                ": kernel, stride and dilation must be at least 1, got ", kernel, ", ", stride,
                " and ", dilation);
  constexpr int64_t kEnd = int64_t{1} << 31;  // the extent must not overflow
  TESSERA_CHECK(ValueError, kernel < kEnd && stride < kEnd && dilation < kEnd, op,
                ": kernel, stride and dilation must be below 2^31, got ", kernel, ", ", stride,
                " and ", dilation);
  const int64_t extent = dilation * (kernel - 1) + 1;
  TESSERA_CHECK(ValueError, padding >= 0 && padding <= extent / 2, op, ": padding ", padding,
                " must lie in [0, ", extent / 2, "], half of the window's extent ", extent);
  WindowAxis a{.in = image[axis],
               .kernel = kernel,
               .stride = stride,
               .padding = padding,
               .dilation = dilation};
  const int64_t room = a.in + 2 * padding - extent;
  const int64_t last = ceil_mode ? room + stride - 1 : room;  // where the last window may start
  TESSERA_CHECK(ShapeError, a.in > 0 && last >= 0, op, ": a window of extent ", extent,
                " does not fit input ", image, " with padding ", padding);
  a.out = last / stride + 1;
  if (ceil_mode && (a.out - 1) * stride >= a.in + padding) --a.out;
  return a;
}

}  // namespace

Windows make_windows(const Shape& image, Size2 kernel, Size2 stride, Size2 padding, Size2 dilation,
                     bool ceil_mode, std::string_view op) {
  check_image(image, op);
  return {make_axis(image, 1, kernel.h, stride.h, padding.h, dilation.h, ceil_mode, op),
          make_axis(image, 2, kernel.w, stride.w, padding.w, dilation.w, ceil_mode, op)};
}

Windows make_bins(const Shape& image, Size2 out, std::string_view op) {
  check_image(image, op);
  TESSERA_CHECK(ShapeError, image[1] > 0 && image[2] > 0, op, ": input ", image, " has no pixels");
  TESSERA_CHECK(ValueError, out.h >= 1 && out.w >= 1, op, ": output size must be at least 1, got ",
                out.h, " x ", out.w);
  return {{.in = image[1], .out = out.h, .adaptive = true},
          {.in = image[2], .out = out.w, .adaptive = true}};
}

}  // namespace tessera

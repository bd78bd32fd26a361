#include "ops/image/upfirdn2d.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/apply.h"
#include "tensor/view.h"

namespace tessera {
namespace {

constexpr int64_t kLargestFactor = 1 << 16;  // kernels multiply it in 32 bits

int64_t output_size(int64_t in, int64_t up, int64_t padding, int64_t taps, int64_t down) {
  return (in * up + padding - taps) / down + 1;
}

Size2 taps_of(const Tensor& filter) {
  if (!filter.defined()) return 1;
  return {filter.size(0), filter.size(-1)};
}

Shape output_shape(const Tensor& x, const Tensor& filter, const Upfirdn2dOptions& o) {
  const Size2 taps = taps_of(filter);
  const ImagePad& p = o.padding;
  return {x.size(0), output_size(x.size(1), o.up.h, p.top + p.bottom, taps.h, o.down.h),
          output_size(x.size(2), o.up.w, p.left + p.right, taps.w, o.down.w), x.size(3)};
}

// One pass of the kernel with a filter of rank 2.
Tensor run_kernel(const Tensor& x, const Tensor& filter, const Upfirdn2dOptions& o) {
  Tensor y = empty(output_shape(x, filter, o), x.dtype(), x.device());
  kernel::upfirdn2d(x.device(), x, filter,
                    {.up = o.up,
                     .down = o.down,
                     .top = o.padding.top,
                     .left = o.padding.left,
                     .gain = o.gain,
                     .flip_filter = o.flip_filter},
                    y);
  return y;
}

struct Upfirdn2d {
  static constexpr std::string_view name = "upfirdn2d";
  Upfirdn2dOptions options;
  int64_t height, width;  // of x

  Tensor forward(Ctx& ctx, const Tensor& x, const Tensor& filter) const {
    ctx.save({filter});
    const Tensor dense = view::contiguous(x);
    if (!filter.defined()) return run_kernel(dense, ones({1, 1}, DType::f32, x.device()), options);
    const Tensor taps = view::contiguous(filter);
    if (taps.rank() == 2) return run_kernel(dense, taps, options);
    // Rows first: they are fewer before the columns are enlarged. Each pass has half of the gain.
    const ImagePad& p = options.padding;
    const double root = std::sqrt(std::abs(options.gain));
    const Tensor rows = run_kernel(dense, view::unsqueeze(taps, 0),
                                   {.up = {1, options.up.w},
                                    .down = {1, options.down.w},
                                    .padding = {.left = p.left, .right = p.right},
                                    .gain = root,
                                    .flip_filter = options.flip_filter});
    return run_kernel(rows, view::unsqueeze(taps, 1),
                      {.up = {options.up.h, 1},
                       .down = {options.down.h, 1},
                       .padding = {.top = p.top, .bottom = p.bottom},
                       .gain = std::copysign(root, options.gain),
                       .flip_filter = options.flip_filter});
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    const Tensor filter = ctx.saved(0);
    const Size2 taps = taps_of(filter), &up = options.up, &down = options.down;
    const ImagePad& p = options.padding;
    const ImagePad adjoint{.left = taps.w - 1 - p.left,
                           .right = width * up.w - g.size(2) * down.w + p.left - up.w + 1,
                           .top = taps.h - 1 - p.top,
                           .bottom = height * up.h - g.size(1) * down.h + p.top - up.h + 1};
    return {upfirdn2d(g, filter,
                      {.up = down,
                       .down = up,
                       .padding = adjoint,
                       .gain = options.gain,
                       .flip_filter = !options.flip_filter}),
            Tensor()};
  }
};

void check_filter(const Tensor& x, const Tensor& filter) {
  if (!filter.defined()) return;
  TESSERA_CHECK(DTypeError, filter.dtype() == DType::f32, "upfirdn2d: the filter must be f32, got ",
                filter.dtype());
  TESSERA_CHECK(ShapeError, (filter.rank() == 1 || filter.rank() == 2) && filter.numel() > 0,
                "upfirdn2d: the filter must have one or two axes of taps, got ", filter.shape());
  TESSERA_CHECK(DeviceError, filter.device() == x.device(), "upfirdn2d: x is on ", x.device(),
                ", the filter on ", filter.device());
}

// n / 2, rounded down where n is negative too.
int64_t half(int64_t n) { return n >= 0 ? n / 2 : -((1 - n) / 2); }

// p + n pixels in front and p + m behind, for both axes.
ImagePad padded(const ImagePad& p, Size2 before, Size2 after) {
  return {.left = p.left + before.w,
          .right = p.right + after.w,
          .top = p.top + before.h,
          .bottom = p.bottom + after.h};
}

}  // namespace

namespace kernel {
constinit KernelSlot<void(const Tensor&, const Tensor&, const Upfirdn2dArgs&, Tensor&)> upfirdn2d{
    "upfirdn2d"};
}

Tensor upfirdn2d(const Tensor& x, const Tensor& filter, const Upfirdn2dOptions& o) {
  TESSERA_CHECK(DTypeError, is_floating(x.dtype()), "upfirdn2d: needs a floating dtype, got ",
                x.dtype(), " of shape ", x.shape());
  TESSERA_CHECK(ShapeError, x.rank() == 4 && x.size(1) > 0 && x.size(2) > 0,
                "upfirdn2d: expects images (N, H, W, C) with pixels, got ", x.shape());
  check_filter(x, filter);
  for (int64_t factor : {o.up.h, o.up.w, o.down.h, o.down.w})
    TESSERA_CHECK(ValueError, factor >= 1 && factor <= kLargestFactor,
                  "upfirdn2d: up and down must be from 1 to ", kLargestFactor, ", got ", o.up,
                  " and ", o.down);
  const Size2 taps = taps_of(filter);
  const ImagePad& p = o.padding;
  for (int64_t side : {p.left, p.right, p.top, p.bottom})
    TESSERA_CHECK(ValueError, std::abs(side) < int64_t{1} << 31, "upfirdn2d: padding by ", side,
                  " pixels is out of range");
  const int64_t height = x.size(1) * o.up.h + p.top + p.bottom;
  const int64_t width = x.size(2) * o.up.w + p.left + p.right;
  TESSERA_CHECK(ShapeError, height >= taps.h && width >= taps.w, "upfirdn2d: a filter of ", taps,
                " taps does not fit into ", x.shape(), ", which is ", height, " x ", width,
                " with zeros and padding");
  return apply(Upfirdn2d{o, x.size(1), x.size(2)}, x, filter.defined() ? filter.detach() : filter);
}

Tensor filter2d(const Tensor& x, const Tensor& filter, const FilterOptions& o) {
  const Size2 taps = taps_of(filter);
  return upfirdn2d(
      x, filter,
      {.padding = padded(o.padding, {taps.h / 2, taps.w / 2}, {(taps.h - 1) / 2, (taps.w - 1) / 2}),
       .gain = o.gain,
       .flip_filter = o.flip_filter});
}

Tensor upsample2d(const Tensor& x, const Tensor& filter, Size2 up, const FilterOptions& o) {
  const Size2 taps = taps_of(filter);
  return upfirdn2d(x, filter,
                   {.up = up,
                    .padding = padded(o.padding, {(taps.h + up.h - 1) / 2, (taps.w + up.w - 1) / 2},
                                      {half(taps.h - up.h), half(taps.w - up.w)}),
                    .gain = o.gain * static_cast<double>(up.h) * static_cast<double>(up.w),
                    .flip_filter = o.flip_filter});
}

Tensor downsample2d(const Tensor& x, const Tensor& filter, Size2 down, const FilterOptions& o) {
  const Size2 taps = taps_of(filter);
  return upfirdn2d(
      x, filter,
      {.down = down,
       .padding = padded(o.padding, {half(taps.h - down.h + 1), half(taps.w - down.w + 1)},
                         {half(taps.h - down.h), half(taps.w - down.w)}),
       .gain = o.gain,
       .flip_filter = o.flip_filter});
}

Tensor setup_filter(const Tensor& taps, const SetupFilterOptions& o) {
  TESSERA_CHECK(ShapeError, taps.rank() <= 2 && taps.numel() > 0,
                "setup_filter: expects taps of rank 0, 1 or 2, got ", taps.shape());
  const bool separable = o.separable.value_or(taps.rank() == 1 && taps.numel() >= 8);
  TESSERA_CHECK(ValueError, !separable || taps.rank() == 1,
                "setup_filter: only one axis of taps can be separable, got ", taps.shape());
  std::vector<double> f = taps.to_vector<double>();
  Shape shape = taps.rank() == 2 ? taps.shape() : Shape{taps.numel()};
  if (shape.rank() == 1 && !separable) {
    std::vector<double> outer;
    for (double row : f)
      for (double column : f) outer.push_back(row * column);
    shape = {shape[0], shape[0]};
    f = std::move(outer);
  }
  double scale = std::pow(o.gain, shape.rank() / 2.0);
  if (o.normalize) scale /= std::accumulate(f.begin(), f.end(), 0.0);
  for (double& v : f) v *= scale;
  if (o.flip) std::reverse(f.begin(), f.end());
  return view::to(view::to(from_vector(f, shape), DType::f32), taps.device());
}

}  // namespace tessera

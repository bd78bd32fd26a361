#include "ops/pool/avg_pool.h"

#include "autograd/apply.h"
#include "ops/pool/adaptive_pool.h"
#include "tensor/view.h"

namespace tessera {
namespace {

Tensor mean_over(const Tensor& x, const Windows& windows);

struct WindowSpread {
  static constexpr std::string_view name = "window_spread";
  Windows windows;
  Tensor forward(Ctx&, const Tensor& y) const {
    Tensor x = empty({y.size(0), windows.h.in, windows.w.in, y.size(3)}, y.dtype(), y.device());
    kernel::window_spread(y.device(), view::contiguous(y), windows, x);
    return x;
  }
  Grads backward(const Ctx&, const Tensor& g) const { return {mean_over(g, windows)}; }
};

struct WindowMean {
  static constexpr std::string_view name = "window_mean";
  Windows windows;
  Tensor forward(Ctx&, const Tensor& x) const {
    Tensor y = empty({x.size(0), windows.h.out, windows.w.out, x.size(3)}, x.dtype(), x.device());
    kernel::window_mean(x.device(), view::contiguous(x), windows, y);
    return y;
  }
  Grads backward(const Ctx&, const Tensor& g) const { return {apply(WindowSpread{windows}, g)}; }
};

Tensor mean_over(const Tensor& x, const Windows& windows) { return apply(WindowMean{windows}, x); }

void check_dtype(const Tensor& x, std::string_view op) {
  TESSERA_CHECK(DTypeError, is_floating(x.dtype()), op, ": needs a floating dtype, got ",
                x.dtype());
}

}  // namespace

constinit KernelSlot<void(const Tensor&, const Windows&, Tensor&)> kernel::window_mean{
    "window_mean"};
constinit KernelSlot<void(const Tensor&, const Windows&, Tensor&)> kernel::window_spread{
    "window_spread"};

Tensor avg_pool2d(const Tensor& x, const AvgPool2dOptions& o) {
  check_dtype(x, "avg_pool2d");
  TESSERA_CHECK(ValueError, o.divisor_override >= 0,
                "avg_pool2d: divisor_override must be positive, got ", o.divisor_override);
  Windows windows = make_windows(x.shape(), o.kernel, stride_or_kernel(o.stride, o.kernel),
                                 o.padding, 1, o.ceil_mode, "avg_pool2d");
  windows.h.counts_padding = windows.w.counts_padding = o.count_include_pad;
  windows.divisor = o.divisor_override;
  return mean_over(x, windows);
}

Tensor adaptive_avg_pool2d(const Tensor& x, Size2 output) {
  check_dtype(x, "adaptive_avg_pool2d");
  return mean_over(x, make_bins(x.shape(), output, "adaptive_avg_pool2d"));
}

}  // namespace tessera

#include "ops/pool/max_pool.h"

#include <limits>

#include "autograd/apply.h"
#include "ops/pool/adaptive_pool.h"
#include "tensor/view.h"

namespace tessera {
namespace {

Shape pooled_shape(const Shape& image, const Windows& w) {
  return {image[0], w.h.out, w.w.out, image[3]};
}

Tensor gather(const Tensor& x, const Tensor& indices, const Windows& windows);

// The two are each other's adjoint, so they differentiate into each other.
struct MaxPoolScatter {
  static constexpr std::string_view name = "max_pool2d_scatter";
  Windows windows;
  Tensor forward(Ctx& ctx, const Tensor& g, const Tensor& indices) const {
    ctx.save({indices});
    Tensor gx = empty({g.size(0), windows.h.in, windows.w.in, g.size(3)}, g.dtype(), g.device());
    kernel::max_pool2d_scatter(g.device(), view::contiguous(g), indices, windows, gx);
    return gx;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    return {gather(g, ctx.saved(0), windows), Tensor()};
  }
};

struct MaxPoolGather {
  static constexpr std::string_view name = "max_pool2d_gather";
  Windows windows;
  Tensor forward(Ctx& ctx, const Tensor& x, const Tensor& indices) const {
    ctx.save({indices});
    Tensor y = empty(indices.shape(), x.dtype(), x.device());
    kernel::max_pool2d_gather(x.device(), view::contiguous(x), indices, windows, y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    return {apply(MaxPoolScatter{windows}, g, ctx.saved(0)), Tensor()};
  }
};

Tensor gather(const Tensor& x, const Tensor& indices, const Windows& windows) {
  return apply(MaxPoolGather{windows}, x, indices);
}

struct MaxPool {
  static constexpr std::string_view name = "max_pool2d";
  Windows windows;
  bool with_indices;
  Tensors forward(Ctx& ctx, const Tensor& x) const {
    const Shape shape = pooled_shape(x.shape(), windows);
    Tensor y = empty(shape, x.dtype(), x.device()), indices;
    if (with_indices || ctx.recording()) indices = empty(shape, DType::i32, x.device());
    kernel::max_pool2d(x.device(), view::contiguous(x), windows, y, indices);
    ctx.save({indices});
    return {y, indices};
  }
  Grads backward(const Ctx& ctx, const Grads& g) const {
    return {apply(MaxPoolScatter{windows}, g[0], ctx.saved(0))};
  }
};

Tensors pool(const Tensor& x, const Windows& windows, bool with_indices) {
  TESSERA_CHECK(DTypeError, is_floating(x.dtype()), "max_pool2d: needs a floating dtype, got ",
                x.dtype());
  TESSERA_CHECK(ShapeError, windows.h.in <= std::numeric_limits<int32_t>::max() / windows.w.in,
                "max_pool2d: an image of ", x.shape(), " has too many pixels for i32 indices");
  return apply(MaxPool{windows, with_indices}, x);
}

Windows windows_of(const Tensor& x, const MaxPool2dOptions& o) {
  return make_windows(x.shape(), o.kernel, stride_or_kernel(o.stride, o.kernel), o.padding,
                      o.dilation, o.ceil_mode, "max_pool2d");
}

}  // namespace

constinit KernelSlot<void(const Tensor&, const Windows&, Tensor&, Tensor&)> kernel::max_pool2d{
    "max_pool2d"};
constinit KernelSlot<void(const Tensor&, const Tensor&, const Windows&, Tensor&)>
    kernel::max_pool2d_scatter{"max_pool2d_scatter"};
constinit KernelSlot<void(const Tensor&, const Tensor&, const Windows&, Tensor&)>
    kernel::max_pool2d_gather{"max_pool2d_gather"};

Tensor max_pool2d(const Tensor& x, const MaxPool2dOptions& options) {
  return pool(x, windows_of(x, options), false)[0];
}

std::pair<Tensor, Tensor> max_pool2d_with_indices(const Tensor& x,
                                                  const MaxPool2dOptions& options) {
  Tensors out = pool(x, windows_of(x, options), true);
  return {out[0], out[1]};
}

Tensor adaptive_max_pool2d(const Tensor& x, Size2 output) {
  return pool(x, make_bins(x.shape(), output, "adaptive_max_pool2d"), false)[0];
}

}  // namespace tessera

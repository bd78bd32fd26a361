#include "ops/index/view.h"

#include <algorithm>

#include "autograd/apply.h"
#include "ops/reduce/sum.h"
#include "tensor/view.h"

namespace tessera {
namespace {

struct ReshapeOp {
  static constexpr std::string_view name = "reshape";
  Shape from, shape;
  Tensor forward(Ctx&, const Tensor& x) const { return view::reshape(x, shape); }
  Grads backward(const Ctx&, const Tensor& g) const { return {reshape(g, from)}; }
};

struct PermuteOp {
  static constexpr std::string_view name = "permute";
  Dims axes;
  Tensor forward(Ctx&, const Tensor& x) const { return view::permute(x, axes); }
  Grads backward(const Ctx&, const Tensor& g) const {
    Dims inverse = axes;
    for (int i = 0; i < axes.rank(); ++i) inverse[normalize_axis(axes[i], axes.rank(), name)] = i;
    return {permute(g, inverse)};
  }
};

struct SliceOp {
  static constexpr std::string_view name = "slice";
  Shape from;
  int64_t axis, start, stop, step;
  Tensor forward(Ctx&, const Tensor& x) const { return view::slice(x, axis, start, stop, step); }
  Grads backward(const Ctx&, const Tensor& g) const {
    return {slice_scatter(g, from, axis, start, step)};
  }
};

struct SliceScatterOp {
  static constexpr std::string_view name = "slice_scatter";
  Shape shape;
  int64_t axis, start, step, count;
  Tensor forward(Ctx&, const Tensor& g) const {
    Tensor y = zeros(shape, g.dtype(), g.device());
    Tensor part = view::slice(y, axis, start, stop(), step);
    TESSERA_CHECK(ShapeError, part.shape() == g.shape(), "slice_scatter: ", g.shape(),
                  " does not fit the slice ", part.shape(), " of ", shape);
    copy_(part, g);
    return y;
  }
  Grads backward(const Ctx&, const Tensor& g) const {
    return {slice(g, axis, start, stop(), step)};
  }
  int64_t stop() const { return start + (count > 0 ? (count - 1) * step + 1 : 0); }
};

struct BroadcastOp {
  static constexpr std::string_view name = "broadcast_to";
  Shape from, shape;
  Tensor forward(Ctx&, const Tensor& x) const { return view::broadcast_to(x, shape); }
  Grads backward(const Ctx&, const Tensor& g) const { return {sum_to(g, from)}; }
};

struct ContiguousOp {
  static constexpr std::string_view name = "contiguous";
  Tensor forward(Ctx&, const Tensor& x) const { return view::contiguous(x); }
  Grads backward(const Ctx&, const Tensor& g) const { return {g}; }
};

struct CastOp {
  static constexpr std::string_view name = "cast";
  DType from, to;
  Tensor forward(Ctx&, const Tensor& x) const { return view::to(x, to); }
  Grads backward(const Ctx&, const Tensor& g) const { return {cast(g, from)}; }
};

struct ToDeviceOp {
  static constexpr std::string_view name = "to";
  Device from, target;
  Tensor forward(Ctx&, const Tensor& x) const { return view::to(x, target); }
  Grads backward(const Ctx&, const Tensor& g) const { return {to(g, from)}; }
};

}  // namespace

Tensor reshape(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  return apply(ReshapeOp{x.shape(), shape}, x);
}

Tensor flatten(const Tensor& x, int64_t first, int64_t last) {
  const int a = normalize_axis(first, x.rank(), "flatten");
  const int b = normalize_axis(last, x.rank(), "flatten");
  TESSERA_CHECK(ValueError, a <= b, "flatten: axis ", first, " comes after ", last);
  Shape shape;
  for (int i = 0; i < x.rank(); ++i) {
    if (i > a && i <= b)
      shape[a] *= x.shape()[i];
    else
      shape.push_back(x.shape()[i]);
  }
  return reshape(x, shape);
}

Tensor permute(const Tensor& x, const Dims& axes) { return apply(PermuteOp{axes}, x); }

Tensor transpose(const Tensor& x, int64_t a, int64_t b) {
  Dims axes;
  for (int i = 0; i < x.rank(); ++i) axes.push_back(i);
  std::swap(axes[normalize_axis(a, x.rank(), "transpose")],
            axes[normalize_axis(b, x.rank(), "transpose")]);
  return permute(x, axes);
}

Tensor slice(const Tensor& x, int64_t axis, int64_t start, int64_t stop, int64_t step) {
  const int a = normalize_axis(axis, x.rank(), "slice");
  const int64_t size = x.shape()[a];
  const auto clamp = [&](int64_t i) { return std::clamp<int64_t>(i < 0 ? i + size : i, 0, size); };
  const int64_t first = clamp(start);
  return apply(SliceOp{x.shape(), a, first, std::max(first, clamp(stop)), step}, x);
}

Tensor slice_scatter(const Tensor& g, const Shape& shape, int64_t axis, int64_t start,
                     int64_t step) {
  const int a = normalize_axis(axis, shape.rank(), "slice_scatter");
  TESSERA_CHECK(ShapeError, g.rank() == shape.rank(), "slice_scatter: ", g.shape(), " into ",
                shape);
  TESSERA_CHECK(ValueError, start >= 0 && step >= 1, "slice_scatter: start ", start, ", step ",
                step);
  return apply(SliceScatterOp{shape, a, start, step, g.shape()[a]}, g);
}

Tensor select(const Tensor& x, int64_t axis, int64_t i) {
  const int a = normalize_axis(axis, x.rank(), "select");
  const int64_t size = x.shape()[a], index = i < 0 ? i + size : i;
  TESSERA_CHECK(ValueError, index >= 0 && index < size, "select: index ", i,
                " is out of range for axis ", a, " of ", x.shape());
  Shape shape = x.shape();
  shape.erase(a);
  return reshape(slice(x, a, index, index + 1), shape);
}

Tensor unsqueeze(const Tensor& x, int64_t axis) {
  Shape shape = x.shape();
  shape.insert(normalize_axis(axis, x.rank() + 1, "unsqueeze"), 1);
  return reshape(x, shape);
}

Tensor squeeze(const Tensor& x, int64_t axis) {
  const int a = normalize_axis(axis, x.rank(), "squeeze");
  TESSERA_CHECK(ShapeError, x.shape()[a] == 1, "squeeze: axis ", a, " of ", x.shape(), " is not 1");
  Shape shape = x.shape();
  shape.erase(a);
  return reshape(x, shape);
}

Tensor broadcast_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  return apply(BroadcastOp{x.shape(), shape}, x);
}

Tensor contiguous(const Tensor& x) { return x.is_contiguous() ? x : apply(ContiguousOp{}, x); }

Tensor cast(const Tensor& x, DType dtype) {
  return x.dtype() == dtype ? x : apply(CastOp{x.dtype(), dtype}, x);
}

Tensor to(const Tensor& x, Device device) {
  return x.device() == device ? x : apply(ToDeviceOp{x.device(), device}, x);
}

}  // namespace tessera

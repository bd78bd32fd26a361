#include "tensor/view.h"

#include <algorithm>

namespace tessera::view {
namespace {

Tensor make(const Tensor& x, const Shape& shape, const Strides& strides, int64_t offset) {
  auto impl = std::make_shared<TensorImpl>();
  impl->storage = x.impl_ptr()->storage;
  impl->shape = shape;
  impl->strides = strides;
  impl->offset = offset;
  impl->dtype = x.dtype();
  return Tensor(std::move(impl));
}

int64_t offset_of(const Tensor& x) { return x.impl_ptr()->offset; }

// Strides of `shape` over the elements of x without a copy, or false.
bool viewable(const Tensor& x, const Shape& shape, Strides& out) {
  out = contiguous_strides(shape);
  if (x.is_contiguous()) return true;
  Shape old;
  Strides strides;
  for (int axis = 0; axis < x.rank(); ++axis) {
    if (x.shape()[axis] == 1) continue;  // its stride means nothing
    old.push_back(x.shape()[axis]);
    strides.push_back(x.strides()[axis]);
  }
  // Match runs of old axes with runs of new axes that hold the same number of elements.
  int i = 0, j = 0;
  while (i < old.rank() && j < shape.rank()) {
    int64_t old_size = old[i], new_size = shape[j];
    const int i0 = i, j0 = j;
    while (old_size != new_size) {
      if (old_size < new_size) {
        if (++i >= old.rank()) return false;
        old_size *= old[i];
      } else {
        if (++j >= shape.rank()) return false;
        new_size *= shape[j];
      }
    }
    for (int k = i0; k < i; ++k)
      if (strides[k] != strides[k + 1] * old[k + 1]) return false;
    out[j] = strides[i];
    for (int k = j; k > j0; --k) out[k - 1] = out[k] * shape[k];
    ++i, ++j;
  }
  for (; j < shape.rank(); ++j) out[j] = 1;
  return i == old.rank();
}

}  // namespace

Tensor as_strided(const Tensor& x, const Shape& shape, const Strides& strides, int64_t offset) {
  TESSERA_CHECK(ShapeError, shape.rank() == strides.rank(), "as_strided: shape ", shape,
                " and strides ", strides, " differ in rank");
  const bool none = tessera::numel(shape) == 0;
  int64_t last = offset;
  bool overflow = false;
  for (int i = 0; i < shape.rank(); ++i) {
    TESSERA_CHECK(ShapeError, strides[i] >= 0, "as_strided: negative stride in ", strides);
    int64_t span = 0;
    overflow |= __builtin_mul_overflow(shape[i] - 1, strides[i], &span) ||
                __builtin_add_overflow(last, span, &last);
  }
  const auto held = static_cast<int64_t>(x.impl_ptr()->storage->bytes) / size_of(x.dtype());
  TESSERA_CHECK(ShapeError, offset >= 0 && (none || (!overflow && last < held)),
                "as_strided: shape ", shape, ", strides ", strides, ", offset ", offset,
                " reach outside ", held, " elements");
  return make(x, shape, strides, offset);
}

Tensor alias(const Tensor& x) { return make(x, x.shape(), x.strides(), offset_of(x)); }

Tensor reshape(const Tensor& x, const Shape& wanted) {
  Shape shape = wanted;
  int unknown = -1;
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] != -1) continue;
    TESSERA_CHECK(ShapeError, unknown < 0, "reshape: more than one -1 in ", wanted);
    unknown = i;
    shape[i] = 1;
  }
  if (unknown >= 0) {
    const int64_t known = tessera::numel(shape);
    TESSERA_CHECK(ShapeError, known > 0 && x.numel() % known == 0, "reshape: ", x.shape(),
                  " does not divide into ", wanted);
    shape[unknown] = x.numel() / known;
  }
  TESSERA_CHECK(ShapeError, tessera::numel(shape) == x.numel(), "reshape: ", x.shape(), " has ",
                x.numel(), " elements, ", wanted, " does not");
  Strides strides;
  if (viewable(x, shape, strides)) return make(x, shape, strides, offset_of(x));
  const Tensor copy = clone(x);
  return make(copy, shape, contiguous_strides(shape), 0);
}

Tensor permute(const Tensor& x, const Dims& axes) {
  TESSERA_CHECK(ShapeError, axes.rank() == x.rank(), "permute: axes ", axes,
                " do not fit a tensor of shape ", x.shape());
  Shape shape = axes;
  Strides strides = axes;
  unsigned seen = 0;
  for (int i = 0; i < axes.rank(); ++i) {
    const int axis = normalize_axis(axes[i], x.rank(), "permute");
    TESSERA_CHECK(ValueError, !(seen >> axis & 1u), "permute: axis ", axis, " twice in ", axes);
    seen |= 1u << axis;
    shape[i] = x.shape()[axis];
    strides[i] = x.strides()[axis];
  }
  return make(x, shape, strides, offset_of(x));
}

Tensor transpose(const Tensor& x, int64_t a, int64_t b) {
  Dims axes;
  for (int i = 0; i < x.rank(); ++i) axes.push_back(i);
  std::swap(axes[normalize_axis(a, x.rank(), "transpose")],
            axes[normalize_axis(b, x.rank(), "transpose")]);
  return permute(x, axes);
}

Tensor slice(const Tensor& x, int64_t axis, int64_t start, int64_t stop, int64_t step) {
  const int a = normalize_axis(axis, x.rank(), "slice");
  TESSERA_CHECK(ValueError, step >= 1, "slice: step must be at least 1, got ", step);
  const int64_t size = x.shape()[a];
  const auto clamp = [&](int64_t i) { return std::clamp<int64_t>(i < 0 ? i + size : i, 0, size); };
  const int64_t first = clamp(start), last = std::max(first, clamp(stop));
  Shape shape = x.shape();
  Strides strides = x.strides();
  shape[a] = (last - first) / step + ((last - first) % step != 0);
  const int64_t offset = offset_of(x) + (shape[a] > 0 ? first * strides[a] : 0);
  if (shape[a] > 1) strides[a] *= step;
  return make(x, shape, strides, offset);
}

Tensor select(const Tensor& x, int64_t axis, int64_t i) {
  const int a = normalize_axis(axis, x.rank(), "select");
  const int64_t size = x.shape()[a], index = i < 0 ? i + size : i;
  TESSERA_CHECK(ValueError, index >= 0 && index < size, "select: index ", i,
                " is out of range for axis ", a, " of ", x.shape());
  Shape shape = x.shape();
  Strides strides = x.strides();
  const int64_t offset = offset_of(x) + index * strides[a];
  shape.erase(a);
  strides.erase(a);
  return make(x, shape, strides, offset);
}

Tensor unsqueeze(const Tensor& x, int64_t axis) {
  const int a = normalize_axis(axis, x.rank() + 1, "unsqueeze");
  Shape shape = x.shape();
  Strides strides = x.strides();
  strides.insert(a, a < x.rank() ? strides[a] * shape[a] : 1);
  shape.insert(a, 1);
  return make(x, shape, strides, offset_of(x));
}

Tensor squeeze(const Tensor& x, int64_t axis) {
  const int a = normalize_axis(axis, x.rank(), "squeeze");
  TESSERA_CHECK(ShapeError, x.shape()[a] == 1, "squeeze: axis ", a, " of ", x.shape(), " is not 1");
  return select(x, a, 0);
}

Tensor broadcast_to(const Tensor& x, const Shape& shape) {
  TESSERA_CHECK(ShapeError, broadcast_shapes(x.shape(), shape, "broadcast_to") == shape,
                "broadcast_to: ", x.shape(), " does not broadcast to ", shape);
  Strides strides = shape;
  const int lead = shape.rank() - x.rank();
  for (int i = 0; i < shape.rank(); ++i)
    strides[i] = i < lead || x.shape()[i - lead] == 1 ? 0 : x.strides()[i - lead];
  return make(x, shape, strides, offset_of(x));
}

Tensor contiguous(const Tensor& x) { return x.is_contiguous() ? x : clone(x); }

Tensor clone(const Tensor& x) {
  Tensor y = empty_like(x);
  kernel::copy(x.device(), x, y);
  return y;
}

Tensor to(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  Tensor y = empty(x.shape(), dtype, x.device());
  kernel::copy(x.device(), x, y);
  return y;
}

Tensor to(const Tensor& x, Device device) {
  if (x.device() == device) return x;
  const Tensor source = contiguous(x);
  Tensor y = empty(x.shape(), x.dtype(), device);
  const bool upload = x.device().is_cpu();
  TESSERA_CHECK(DeviceError, upload || device.is_cpu(), "no direct copy from ", x.device(), " to ",
                device);
  if (x.numel() > 0) kernel::transfer(upload ? device : x.device(), source, y);
  return y;
}

}  // namespace tessera::view

#include "ops/index/gather.h"

#include "autograd/apply.h"
#include "ops/index/axis.h"
#include "ops/index/view.h"
#include "ops/pointwise/arithmetic.h"
#include "tensor/view.h"

namespace tessera {

namespace {

// Gather and GatherAdjoint differentiate into each other, and so do IndexSelect and
// IndexSelectAdjoint; scatter_add and index_add are x plus an adjoint.

Tensor gather_adjoint(const Tensor& src, int axis, const Tensor& index, const Shape& shape);
Tensor index_select_adjoint(const Tensor& src, int axis, const Tensor& index, const Shape& shape);

struct Gather {
  static constexpr std::string_view name = "gather";
  int axis;
  Tensor index;
  Shape shape;  // of x

  Tensor forward(Ctx&, const Tensor& x) const {
    Tensor y = empty(index.shape(), x.dtype(), x.device());
    kernel::gather.get(x.device())(view::contiguous(x), axis, index, y);
    return y;
  }
  Grads backward(const Ctx&, const Tensor& g) const {
    return {gather_adjoint(g, axis, index, shape)};
  }
};

struct GatherAdjoint {
  static constexpr std::string_view name = "gather_adjoint";
  int axis;
  Tensor index;
  Shape shape;  // of the result

  Tensor forward(Ctx&, const Tensor& src) const {
    Tensor y = zeros(shape, src.dtype(), src.device());
    kernel::scatter_add.get(src.device())(view::contiguous(src), axis, index, y);
    return y;
  }
  Grads backward(const Ctx&, const Tensor& g) const { return {gather(g, axis, index)}; }
};

Tensor gather_adjoint(const Tensor& src, int axis, const Tensor& index, const Shape& shape) {
  return apply(GatherAdjoint{axis, index, shape}, src);
}

struct Scatter {
  static constexpr std::string_view name = "scatter";
  int axis;
  Tensor index;

  Tensor forward(Ctx&, const Tensor& x, const Tensor& src) const {
    Tensor y = view::clone(x);
    kernel::scatter.get(x.device())(view::contiguous(src), axis, index, y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    return {ctx.needs_grad(0) ? scatter(g, axis, index, zeros(index.shape(), g.dtype(), g.device()))
                              : Tensor(),
            ctx.needs_grad(1) ? gather(g, axis, index) : Tensor()};
  }
};

struct IndexSelect {
  static constexpr std::string_view name = "index_select";
  int axis;
  Tensor index;
  Shape shape;  // of x

  Tensor forward(Ctx&, const Tensor& x) const {
    Shape out = x.shape();
    out[axis] = index.numel();
    Tensor y = empty(out, x.dtype(), x.device());
    kernel::index_select.get(x.device())(view::contiguous(x), axis, index, y);
    return y;
  }
  Grads backward(const Ctx&, const Tensor& g) const {
    return {index_select_adjoint(g, axis, index, shape)};
  }
};

struct IndexSelectAdjoint {
  static constexpr std::string_view name = "index_select_adjoint";
  int axis;
  Tensor index;
  Shape shape;  // of the result

  Tensor forward(Ctx&, const Tensor& src) const {
    Tensor y = zeros(shape, src.dtype(), src.device());
    kernel::index_add.get(src.device())(view::contiguous(src), axis, index, y);
    return y;
  }
  Grads backward(const Ctx&, const Tensor& g) const { return {index_select(g, axis, index)}; }
};

Tensor index_select_adjoint(const Tensor& src, int axis, const Tensor& index, const Shape& shape) {
  return apply(IndexSelectAdjoint{axis, index, shape}, src);
}

/// Checks an element-wise index and makes it contiguous.
Tensor element_index(const Tensor& x, int axis, const Tensor& index, std::string_view op) {
  index::check_index_dtype(index, op);
  bool fits = index.rank() == x.rank();
  for (int d = 0; fits && d < x.rank(); ++d) fits = d == axis || index.shape()[d] <= x.shape()[d];
  TESSERA_CHECK(ShapeError, fits, op, " along axis ", axis, ": index ", index.shape(),
                " does not fit x ", x.shape());
  return view::contiguous(index.detach());
}

Tensor slice_index(const Tensor& index, std::string_view op) {
  index::check_index_dtype(index, op);
  TESSERA_CHECK(ShapeError, index.rank() == 1, op, ": index must have one axis, got ",
                index.shape());
  return view::contiguous(index.detach());
}

void check_source(const Tensor& x, const Tensor& src, const Shape& expected, std::string_view op) {
  TESSERA_CHECK(ShapeError, src.shape() == expected, op, ": src must be ", expected, ", got ",
                src.shape());
  TESSERA_CHECK(DTypeError, src.dtype() == x.dtype(), op, ": x is ", x.dtype(), ", src is ",
                src.dtype());
}

}  // namespace

Tensor gather(const Tensor& x, int64_t axis, const Tensor& index) {
  const int a = normalize_axis(axis, x.rank(), "gather");
  return apply(Gather{a, element_index(x, a, index, "gather"), x.shape()}, x);
}

Tensor scatter_add(const Tensor& x, int64_t axis, const Tensor& index, const Tensor& src) {
  const int a = normalize_axis(axis, x.rank(), "scatter_add");
  const Tensor at = element_index(x, a, index, "scatter_add");
  check_source(x, src, index.shape(), "scatter_add");
  return x + gather_adjoint(src, a, at, x.shape());
}

Tensor scatter(const Tensor& x, int64_t axis, const Tensor& index, const Tensor& src) {
  const int a = normalize_axis(axis, x.rank(), "scatter");
  const Tensor at = element_index(x, a, index, "scatter");
  check_source(x, src, index.shape(), "scatter");
  return apply(Scatter{a, at}, x, src);
}

Tensor index_select(const Tensor& x, int64_t axis, const Tensor& index) {
  const int a = normalize_axis(axis, x.rank(), "index_select");
  return apply(IndexSelect{a, slice_index(index, "index_select"), x.shape()}, x);
}

Tensor index_add(const Tensor& x, int64_t axis, const Tensor& index, const Tensor& src) {
  const int a = normalize_axis(axis, x.rank(), "index_add");
  const Tensor at = slice_index(index, "index_add");
  Shape expected = x.shape();
  expected[a] = at.numel();
  check_source(x, src, expected, "index_add");
  return x + index_select_adjoint(src, a, at, x.shape());
}

Tensor take_rows(const Tensor& x, const Tensor& index) {
  TESSERA_CHECK(ShapeError, x.rank() >= 1, "take_rows: x must have rows, got a scalar");
  Shape shape = index.shape();
  for (int d = 1; d < x.rank(); ++d) shape.push_back(x.shape()[d]);
  return reshape(index_select(x, 0, view::reshape(index.detach(), {index.numel()})), shape);
}

}  // namespace tessera

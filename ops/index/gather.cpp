#include "ops/index/gather.h"

#include "autograd/apply.h"
#include "ops/index/axis.h"
#include "ops/index/view.h"
#include "ops/pointwise/arithmetic.h"
#include "tensor/view.h"

namespace tessera {

namespace {

// Reading by an index and its adjoint, which adds to zeros, differentiate into each other;
// scatter_add and index_add are x plus an adjoint. A way of addressing is a `Rule`.

struct Elements {
  static constexpr std::string_view name = "gather", adjoint_name = "gather_adjoint";
  static constexpr auto* pick = &kernel::gather;
  static constexpr auto* add = &kernel::scatter_add;
  static Shape picked(const Shape&, int, const Tensor& index) { return index.shape(); }
};

struct Slices {
  static constexpr std::string_view name = "index_select", adjoint_name = "index_select_adjoint";
  static constexpr auto* pick = &kernel::index_select;
  static constexpr auto* add = &kernel::index_add;
  static Shape picked(Shape shape, int axis, const Tensor& index) {
    shape[axis] = index.numel();
    return shape;
  }
};

template <class Rule>
struct PickAdjoint;

// The index is an input without a gradient, so that backward sees when it was overwritten since.
template <class Rule>
struct Pick {
  static constexpr std::string_view name = Rule::name;
  int axis;
  Shape shape;  // of x

  Tensor forward(Ctx& ctx, const Tensor& x, const Tensor& index) const {
    ctx.save({index});
    Tensor y = empty(Rule::picked(shape, axis, index), x.dtype(), x.device());
    (*Rule::pick)(x.device(), view::contiguous(x), axis, index, y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    return {apply(PickAdjoint<Rule>{axis, shape}, g, ctx.saved(0)), Tensor()};
  }
};

template <class Rule>
struct PickAdjoint {
  static constexpr std::string_view name = Rule::adjoint_name;
  int axis;
  Shape shape;  // of the result

  Tensor forward(Ctx& ctx, const Tensor& src, const Tensor& index) const {
    ctx.save({index});
    Tensor y = zeros(shape, src.dtype(), src.device());
    (*Rule::add)(src.device(), view::contiguous(src), axis, index, y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    return {apply(Pick<Rule>{axis, shape}, g, ctx.saved(0)), Tensor()};
  }
};

struct Scatter {
  static constexpr std::string_view name = "scatter";
  int axis;

  Tensor forward(Ctx& ctx, const Tensor& x, const Tensor& src, const Tensor& index) const {
    ctx.save({index});
    Tensor y = view::clone(x);
    kernel::scatter(x.device(), view::contiguous(src), axis, index, y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    const Tensor index = ctx.saved(0);
    Grads out(3);
    if (ctx.needs_grad(0))
      out[0] = scatter(g, axis, index, zeros(index.shape(), g.dtype(), g.device()));
    if (ctx.needs_grad(1)) out[1] = gather(g, axis, index);
    return out;
  }
};

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
  return apply(Pick<Elements>{a, x.shape()}, x, element_index(x, a, index, "gather"));
}

Tensor scatter_add(const Tensor& x, int64_t axis, const Tensor& index, const Tensor& src) {
  const int a = normalize_axis(axis, x.rank(), "scatter_add");
  const Tensor at = element_index(x, a, index, "scatter_add");
  check_source(x, src, index.shape(), "scatter_add");
  return x + apply(PickAdjoint<Elements>{a, x.shape()}, src, at);
}

Tensor scatter(const Tensor& x, int64_t axis, const Tensor& index, const Tensor& src) {
  const int a = normalize_axis(axis, x.rank(), "scatter");
  const Tensor at = element_index(x, a, index, "scatter");
  check_source(x, src, index.shape(), "scatter");
  return apply(Scatter{a}, x, src, at);
}

Tensor index_select(const Tensor& x, int64_t axis, const Tensor& index) {
  const int a = normalize_axis(axis, x.rank(), "index_select");
  return apply(Pick<Slices>{a, x.shape()}, x, slice_index(index, "index_select"));
}

Tensor index_add(const Tensor& x, int64_t axis, const Tensor& index, const Tensor& src) {
  const int a = normalize_axis(axis, x.rank(), "index_add");
  const Tensor at = slice_index(index, "index_add");
  Shape expected = x.shape();
  expected[a] = at.numel();
  check_source(x, src, expected, "index_add");
  return x + apply(PickAdjoint<Slices>{a, x.shape()}, src, at);
}

Tensor take_rows(const Tensor& x, const Tensor& index) {
  TESSERA_CHECK(ShapeError, x.rank() >= 1, "take_rows: x must have rows, got a scalar");
  Shape shape = index.shape();
  for (int d = 1; d < x.rank(); ++d) shape.push_back(x.shape()[d]);
  return reshape(index_select(x, 0, view::reshape(index.detach(), {index.numel()})), shape);
}

}  // namespace tessera

#include "ops/reduce/product.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/apply.h"
#include "ops/cpu/reduce.h"
#include "ops/index/concat.h"
#include "ops/index/view.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/comparison.h"
#include "ops/pointwise/elementary.h"
#include "ops/pointwise/exponential.h"
#include "ops/pointwise/where.h"
#include "ops/reduce/extreme.h"
#include "ops/reduce/sum.h"

namespace tessera {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// sum exp(v - shift[output]).
template <class T>
struct ExpSumReducer {
  using Lane = compute_t<T>;
  using Wide = double;
  const compute_t<T>* shift;
  Lane lane() const { return 0; }
  Wide wide() const { return 0; }
  void step(Lane& a, Lane v, int64_t output) const { a += math::exp(v - shift[output]); }
  void merge(Wide& a, Wide b) const { a += b; }
  double finish(Wide a) const { return a; }
};

void prod_cpu(const Tensor& x, Tensor& y) {
  dispatch_floating(x.dtype(), "prod", [&]<class T>() {
    cpu::reduce<T>(cpu::plan_reduction(x, y.shape()), reducers::Product<T>{}, y.data<T>());
  });
}

void count_nonzero_cpu(const Tensor& x, Tensor& y) {
  dispatch_all(x.dtype(), "count_nonzero", [&]<class T>() {
    cpu::reduce<T>(cpu::plan_reduction(x, y.shape()), reducers::Count<T>{}, y.data<int64_t>());
  });
}

void logsumexp_cpu(const Tensor& x, Tensor& y) {
  kernel::amax(kCpu, x, y);
  dispatch_floating(x.dtype(), "logsumexp", [&]<class T>() {
    T* out = y.data<T>();
    const auto count = static_cast<size_t>(y.numel());
    std::vector<compute_t<T>> shift(count);
    std::vector<double> sums(count);
    for (size_t i = 0; i < count; ++i) {
      const auto largest = static_cast<compute_t<T>>(out[i]);
      shift[i] = std::isinf(largest) ? compute_t<T>(0) : largest;  // inf - inf
    }
    cpu::reduce<T>(cpu::plan_reduction(x, y.shape()), ExpSumReducer<T>{shift.data()}, sums.data());
    for (size_t i = 0; i < count; ++i)
      out[i] = static_cast<T>(
          static_cast<compute_t<T>>(std::log(sums[i]) + static_cast<double>(shift[i])));
  });
}

void check_floating(const Tensor& x, std::string_view op) {
  TESSERA_CHECK(DTypeError, is_floating(x.dtype()), op, ": needs a floating dtype, got ", x.dtype(),
                " of shape ", x.shape(), "; convert it with cast()");
}

// The product of the other elements of each row of x (rows, n >= 1): pairs are multiplied up to one
// number and the products of what lies outside come down again. Unlike prod / x it holds at zeros,
// and being made of products it can be differentiated again there.
Tensor others(const Tensor& x) {
  const int64_t n = x.size(1), half = n / 2;
  if (n == 1) return ones_like(x);
  const Tensor left = slice(x, 1, 0, half), right = slice(x, 1, half, 2 * half);
  Tensor pairs = left * right;
  if (n % 2 == 1) pairs = concat({pairs, slice(x, 1, n - 1, n)}, 1);
  const Tensor outside = others(pairs), paired = slice(outside, 1, 0, half);
  Tensors parts{paired * right, paired * left};
  if (n % 2 == 1) parts.push_back(slice(outside, 1, half, half + 1));
  return concat(parts, 1);
}

struct ProdOp {
  static constexpr std::string_view name = "prod";
  ReducedShape reduced;
  Tensor forward(Ctx& ctx, const Tensor& x) const {
    check_floating(x, name);
    ctx.save({x});
    Tensor y = empty(reduced.kept, x.dtype(), x.device());
    if (x.numel() == 0)
      fill_(y, 1.0);
    else
      kernel::prod(x.device(), x, y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    const Tensor x = ctx.saved(0);
    if (x.numel() == 0) return {zeros_like(x)};
    // The reduced axes as one behind the others, and back.
    Dims order, inverse;
    for (int i = 0; i < x.rank(); ++i)
      if (std::ranges::count(reduced.axes, i) == 0) order.push_back(i);
    for (int64_t axis : reduced.axes) order.push_back(axis);
    for (int i = 0; i < x.rank(); ++i)
      inverse.push_back(std::ranges::find(order, i) - order.begin());
    const Tensor moved = permute(x, order);
    const Tensor rest = others(reshape(moved, {x.numel() / reduced.count, reduced.count}));
    return {g * permute(reshape(rest, moved.shape()), inverse)};
  }
};

struct LogsumexpOp {
  static constexpr std::string_view name = "logsumexp";
  Shape kept;
  Tensor forward(Ctx& ctx, const Tensor& x) const {
    check_floating(x, name);
    Tensor y = empty(kept, x.dtype(), x.device());
    if (x.numel() == 0)
      fill_(y, -kInf);
    else
      kernel::logsumexp(x.device(), x, y);
    ctx.save({x});
    ctx.save_output(y);
    return y;
  }
  // g softmax(x); exp(-inf - 0) = 0 where every element is -inf.
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    const Tensor y = ctx.saved(1);
    const Tensor safe = where(eq(y, -kInf), zeros({}, y.dtype(), y.device()), y);
    return {g * exp(ctx.saved(0) - safe)};
  }
};

Tensor count_kept(const Tensor& x, const ReducedShape& r) {
  Tensor y = empty(r.kept, DType::i64, x.device());
  if (x.numel() == 0)
    fill_(y, 0);
  else
    kernel::count_nonzero(x.device(), x, y);
  return y;
}

}  // namespace

constinit KernelSlot<void(const Tensor&, Tensor&)> kernel::prod{"prod"};
constinit KernelSlot<void(const Tensor&, Tensor&)> kernel::logsumexp{"logsumexp"};
constinit KernelSlot<void(const Tensor&, Tensor&)> kernel::count_nonzero{"count_nonzero"};
TESSERA_KERNEL(prod, cpu, prod_cpu);
TESSERA_KERNEL(logsumexp, cpu, logsumexp_cpu);
TESSERA_KERNEL(count_nonzero, cpu, count_nonzero_cpu);

Tensor prod(const Tensor& x, const Dims& axes, bool keepdim) {
  const ReducedShape r = reduced_shape(x.shape(), axes, "prod");
  const Tensor y = apply(ProdOp{r}, x);
  return keepdim ? y : reshape(y, r.dropped);
}

Tensor logsumexp(const Tensor& x, const Dims& axes, bool keepdim) {
  const ReducedShape r = reduced_shape(x.shape(), axes, "logsumexp");
  const Tensor y = apply(LogsumexpOp{r.kept}, x);
  return keepdim ? y : reshape(y, r.dropped);
}

Tensor count_nonzero(const Tensor& x, const Dims& axes, bool keepdim) {
  const ReducedShape r = reduced_shape(x.shape(), axes, "count_nonzero");
  const Tensor y = count_kept(x, r);
  return keepdim ? y : view::reshape(y, r.dropped);
}

Tensor any(const Tensor& x, const Dims& axes, bool keepdim) {
  return gt(count_nonzero(x, axes, keepdim), 0.0);
}

Tensor all(const Tensor& x, const Dims& axes, bool keepdim) {
  const auto count = static_cast<double>(reduced_shape(x.shape(), axes, "all").count);
  return eq(count_nonzero(x, axes, keepdim), count);
}

}  // namespace tessera

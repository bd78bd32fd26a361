#include "ops/reduce/product.h"

#include <cmath>
#include <limits>

#include "autograd/apply.h"
#include "ops/cpu/reduce.h"
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

template <class T>
struct ProductReducer {
  using Lane = double;
  using Wide = double;
  double lane() const { return 1; }
  double wide() const { return 1; }
  void step(double& a, compute_t<T> v, int64_t) const { a *= static_cast<double>(v); }
  void merge(double& a, double b) const { a *= b; }
  T finish(double a) const { return static_cast<T>(static_cast<compute_t<T>>(a)); }
};

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

template <class T>
struct CountReducer {
  using Lane = int64_t;
  using Wide = int64_t;
  int64_t lane() const { return 0; }
  int64_t wide() const { return 0; }
  void step(int64_t& a, compute_t<T> v, int64_t) const { a += v != compute_t<T>(0); }
  void merge(int64_t& a, int64_t b) const { a += b; }
  int64_t finish(int64_t a) const { return a; }
};

void prod_cpu(const Tensor& x, Tensor& y) {
  dispatch_floating(x.dtype(), "prod", [&]<class T>() {
    cpu::reduce<T>(cpu::plan_reduction(x, y.shape()), ProductReducer<T>{}, y.data<T>());
  });
}

void count_nonzero_cpu(const Tensor& x, Tensor& y) {
  dispatch_all(x.dtype(), "count_nonzero", [&]<class T>() {
    cpu::reduce<T>(cpu::plan_reduction(x, y.shape()), CountReducer<T>{}, y.data<int64_t>());
  });
}

void logsumexp_cpu(const Tensor& x, Tensor& y) {
  kernel::amax.get(kCpu)(x, y);
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
      kernel::prod.get(x.device())(x, y);
    return y;
  }
  // The product of the other elements: p / x without zeros; p, the product of the rest, at the only
  // zero; 0 otherwise.
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    const Tensor x = ctx.saved(0), is_zero = eq(x, 0.0);
    const Tensor one = ones({}, x.dtype(), x.device()), zero = zeros({}, x.dtype(), x.device());
    const Tensor safe = where(is_zero, one, x);
    const Tensor zero_count = sum(is_zero, reduced.axes, true);
    const Tensor others = g * prod(safe, reduced.axes, true) / safe;
    const Tensor alone = logical_or(eq(zero_count, 0.0), logical_and(is_zero, eq(zero_count, 1.0)));
    return {where(alone, others, zero)};
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
      kernel::logsumexp.get(x.device())(x, y);
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
    kernel::count_nonzero.get(x.device())(x, y);
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

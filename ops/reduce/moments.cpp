#include "ops/reduce/moments.h"

#include <cmath>
#include <limits>

#include "autograd/apply.h"
#include "ops/cpu/reduce.h"
#include "ops/index/view.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/comparison.h"
#include "ops/pointwise/power.h"
#include "ops/pointwise/rounding.h"
#include "ops/pointwise/where.h"
#include "ops/reduce/extreme.h"
#include "ops/reduce/sum.h"

namespace tessera {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

void check_floating(const Tensor& x, std::string_view op) {
  TESSERA_CHECK(DTypeError, is_floating(x.dtype()), op, ": needs a floating dtype, got ", x.dtype(),
                " of shape ", x.shape(), "; convert it with cast()");
}

// sum (v - centre)^2 / divisor.
template <class T>
struct VarianceReducer {
  using Lane = double;
  using Wide = double;
  const double* centre;  // per output
  double divisor;
  double lane() const { return 0; }
  double wide() const { return 0; }
  void step(double& a, compute_t<T> v, int64_t output) const {
    const double d = static_cast<double>(v) - centre[output];
    a += d * d;
  }
  void merge(double& a, double b) const { a += b; }
  T finish(double a) const { return static_cast<T>(static_cast<compute_t<T>>(a / divisor)); }
};

void var_cpu(const Tensor& x, double divisor, Tensor& y) {
  if (x.numel() == 0) return kernel::fill(kCpu, y, kNan);
  dispatch_floating(x.dtype(), "var", [&]<class T>() {
    const cpu::ReducePlan plan = cpu::plan_reduction(x, y.shape());
    std::vector<double> centre(static_cast<size_t>(y.numel()));
    cpu::reduce<T>(plan, reducers::Sum<T, double>{}, centre.data());
    for (double& c : centre) c /= static_cast<double>(plan.length);
    cpu::reduce<T>(plan, VarianceReducer<T>{centre.data(), divisor}, y.data<T>());
  });
}

void norm2_cpu(const Tensor& x, Tensor& y) {
  if (x.numel() == 0) return kernel::fill(kCpu, y, 0.0);
  dispatch_floating(x.dtype(), "norm", [&]<class T>() {
    cpu::reduce<T>(cpu::plan_reduction(x, y.shape()), reducers::Norm2<T>{}, y.data<T>());
  });
}

struct VarOp {
  static constexpr std::string_view name = "var";
  ReducedShape reduced;
  double divisor;
  Tensor forward(Ctx& ctx, const Tensor& x) const {
    ctx.save({x});
    Tensor y = empty(reduced.kept, x.dtype(), x.device());
    kernel::var(x.device(), x, divisor, y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    const Tensor x = ctx.saved(0);
    return {(x - mean(x, reduced.axes, true)) * (g * (2.0 / divisor))};
  }
};

struct Norm2Op {
  static constexpr std::string_view name = "norm";
  Shape kept;
  Tensor forward(Ctx& ctx, const Tensor& x) const {
    Tensor y = empty(kept, x.dtype(), x.device());
    kernel::norm2(x.device(), x, y);
    ctx.save({x});
    ctx.save_output(y);
    return y;
  }
  // x / |x|, 0 at the origin.
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    const Tensor y = ctx.saved(1), zero = eq(y, 0.0);
    const Tensor safe = where(zero, ones({}, y.dtype(), y.device()), y);
    return {ctx.saved(0) * where(zero, zeros({}, y.dtype(), y.device()), g / safe)};
  }
};

}  // namespace

constinit KernelSlot<void(const Tensor&, double, Tensor&)> kernel::var{"var"};
constinit KernelSlot<void(const Tensor&, Tensor&)> kernel::norm2{"norm2"};
TESSERA_KERNEL(var, cpu, var_cpu);
TESSERA_KERNEL(norm2, cpu, norm2_cpu);

Tensor mean(const Tensor& x, const Dims& axes, bool keepdim) {
  check_floating(x, "mean");
  const auto count = static_cast<double>(reduced_shape(x.shape(), axes, "mean").count);
  // The sum of half types may overflow where the mean does not.
  const DType wide = x.dtype() == DType::f64 ? DType::f64 : DType::f32;
  return cast(affine(sum(cast(x, wide), axes, keepdim), 1.0 / count, 0.0), x.dtype());
}

Tensor var(const Tensor& x, const Dims& axes, bool unbiased, bool keepdim) {
  check_floating(x, "var");
  const ReducedShape r = reduced_shape(x.shape(), axes, "var");
  const double divisor = static_cast<double>(std::max<int64_t>(r.count - (unbiased ? 1 : 0), 0));
  const Tensor y = apply(VarOp{r, divisor}, x);
  return keepdim ? y : reshape(y, r.dropped);
}

Tensor stddev(const Tensor& x, const Dims& axes, bool unbiased, bool keepdim) {
  const Tensor v = var(x, axes, unbiased, keepdim), zero = eq(v, 0.0);
  const Tensor safe = where(zero, ones({}, v.dtype(), v.device()), v);
  return where(zero, zeros({}, v.dtype(), v.device()), sqrt(safe));
}

Tensor norm(const Tensor& x, double p, const Dims& axes, bool keepdim) {
  check_floating(x, "norm");
  TESSERA_CHECK(ValueError, p == 1 || p == 2 || p == INFINITY,
                "norm: p must be 1, 2 or infinity, got ", p);
  if (p == 1) return sum(abs(x), axes, keepdim);
  if (p != 2) return amax(abs(x), axes, keepdim);
  const ReducedShape r = reduced_shape(x.shape(), axes, "norm");
  const Tensor y = apply(Norm2Op{r.kept}, x);
  return keepdim ? y : reshape(y, r.dropped);
}

}  // namespace tessera

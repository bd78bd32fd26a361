#include "ops/pointwise/comparison.h"

#include <cmath>

#include "ops/cpu/map.h"
#include "ops/pointwise/comparison_formulas.h"

namespace tessera {
namespace {

// Calls fn with the comparison as a functor of its own, whose loop is vectorised.
template <class Fn>
void with_comparison(Comparison op, Fn&& fn) {
  const auto call = [&]<Comparison kOp>() {
    fn([](auto a, auto b) { return math::compares(kOp, a, b); });
  };
  switch (op) {
    case Comparison::eq:
      return call.template operator()<Comparison::eq>();
    case Comparison::ne:
      return call.template operator()<Comparison::ne>();
    case Comparison::lt:
      return call.template operator()<Comparison::lt>();
    case Comparison::le:
      return call.template operator()<Comparison::le>();
    case Comparison::gt:
      return call.template operator()<Comparison::gt>();
    case Comparison::ge:
      return call.template operator()<Comparison::ge>();
  }
}

void compare_cpu(const Tensor& a, const Tensor& b, Comparison op, Tensor& y) {
  dispatch_all(a.dtype(), "compare", [&]<class T>() {
    with_comparison(op, [&](auto f) { cpu::map<bool, T, T>(y, f, a, b); });
  });
}

void compare_scalar_cpu(const Tensor& x, double s, Comparison op, Tensor& y) {
  dispatch_all(x.dtype(), "compare", [&]<class T>() {
    with_comparison(op, [&](auto f) {
      if constexpr (is_floating(dtype_of<T>())) {
        const auto c = static_cast<compute_t<T>>(s);
        cpu::map<bool, T>(
            y, [=](compute_t<T> v) { return f(v, c); }, x);
      } else if (std::nearbyint(s) == s && std::abs(s) < 9.0e18) {
        const auto c = static_cast<int64_t>(s);
        cpu::map<bool, T>(
            y, [=](T v) { return f(static_cast<int64_t>(v), c); }, x);
      } else {
        cpu::map<bool, T>(
            y, [=](T v) { return f(static_cast<double>(v), s); }, x);
      }
    });
  });
}

void logic_cpu(const Tensor& a, const Tensor& b, Logic op, Tensor& y) {
  const auto run = [&]<Logic kOp>() {
    cpu::map<bool, bool, bool>(
        y, [](bool p, bool q) { return math::combines(kOp, p, q); }, a, b);
  };
  switch (op) {
    case Logic::logical_and:
      return run.template operator()<Logic::logical_and>();
    case Logic::logical_or:
      return run.template operator()<Logic::logical_or>();
    case Logic::logical_xor:
      return run.template operator()<Logic::logical_xor>();
  }
}

void classify_cpu(const Tensor& x, FloatClass which, Tensor& y) {
  dispatch_floating(x.dtype(), "isnan", [&]<class T>() {
    using C = compute_t<T>;
    const auto run = [&]<FloatClass kWhich>() {
      cpu::map<bool, T>(
          y, [](C v) { return math::belongs(kWhich, v); }, x);
    };
    switch (which) {
      case FloatClass::nan:
        return run.template operator()<FloatClass::nan>();
      case FloatClass::inf:
        return run.template operator()<FloatClass::inf>();
      case FloatClass::finite:
        return run.template operator()<FloatClass::finite>();
    }
  });
}

Tensor compare(const Tensor& a, const Tensor& b, Comparison op, std::string_view name) {
  TESSERA_CHECK(DTypeError, a.dtype() == b.dtype(), name, ": dtypes ", a.dtype(), " and ",
                b.dtype(), " differ; convert one with cast()");
  TESSERA_CHECK(DeviceError, a.device() == b.device(), name, ": devices ", a.device(), " and ",
                b.device(), " differ");
  Tensor y = empty(broadcast_shapes(a.shape(), b.shape(), name), DType::boolean, a.device());
  kernel::compare(a.device(), a, b, op, y);
  return y;
}

Tensor compare(const Tensor& x, double s, Comparison op) {
  Tensor y = empty(x.shape(), DType::boolean, x.device());
  kernel::compare_scalar(x.device(), x, s, op, y);
  return y;
}

Tensor logic(const Tensor& a, const Tensor& b, Logic op, std::string_view name) {
  TESSERA_CHECK(DeviceError, a.device() == b.device(), name, ": devices ", a.device(), " and ",
                b.device(), " differ");
  Tensor y = empty(broadcast_shapes(a.shape(), b.shape(), name), DType::boolean, a.device());
  kernel::logic(a.device(), view::to(a, DType::boolean), view::to(b, DType::boolean), op, y);
  return y;
}

Tensor classify(const Tensor& x, FloatClass which) {
  if (!is_floating(x.dtype()))
    return full(x.shape(), which == FloatClass::finite, DType::boolean, x.device());
  Tensor y = empty(x.shape(), DType::boolean, x.device());
  kernel::classify(x.device(), x, which, y);
  return y;
}

}  // namespace

constinit KernelSlot<void(const Tensor&, const Tensor&, Comparison, Tensor&)> kernel::compare{
    "compare"};
constinit KernelSlot<void(const Tensor&, double, Comparison, Tensor&)> kernel::compare_scalar{
    "compare_scalar"};
constinit KernelSlot<void(const Tensor&, const Tensor&, Logic, Tensor&)> kernel::logic{"logic"};
constinit KernelSlot<void(const Tensor&, FloatClass, Tensor&)> kernel::classify{"classify"};
TESSERA_KERNEL(compare, cpu, compare_cpu);
TESSERA_KERNEL(compare_scalar, cpu, compare_scalar_cpu);
TESSERA_KERNEL(logic, cpu, logic_cpu);
TESSERA_KERNEL(classify, cpu, classify_cpu);

Tensor eq(const Tensor& a, const Tensor& b) { return compare(a, b, Comparison::eq, "eq"); }
Tensor ne(const Tensor& a, const Tensor& b) { return compare(a, b, Comparison::ne, "ne"); }
Tensor lt(const Tensor& a, const Tensor& b) { return compare(a, b, Comparison::lt, "lt"); }
Tensor le(const Tensor& a, const Tensor& b) { return compare(a, b, Comparison::le, "le"); }
Tensor gt(const Tensor& a, const Tensor& b) { return compare(a, b, Comparison::gt, "gt"); }
Tensor ge(const Tensor& a, const Tensor& b) { return compare(a, b, Comparison::ge, "ge"); }
Tensor eq(const Tensor& x, double s) { return compare(x, s, Comparison::eq); }
Tensor ne(const Tensor& x, double s) { return compare(x, s, Comparison::ne); }
Tensor lt(const Tensor& x, double s) { return compare(x, s, Comparison::lt); }
Tensor le(const Tensor& x, double s) { return compare(x, s, Comparison::le); }
Tensor gt(const Tensor& x, double s) { return compare(x, s, Comparison::gt); }
Tensor ge(const Tensor& x, double s) { return compare(x, s, Comparison::ge); }

Tensor logical_and(const Tensor& a, const Tensor& b) {
  return logic(a, b, Logic::logical_and, "logical_and");
}
Tensor logical_or(const Tensor& a, const Tensor& b) {
  return logic(a, b, Logic::logical_or, "logical_or");
}
Tensor logical_xor(const Tensor& a, const Tensor& b) {
  return logic(a, b, Logic::logical_xor, "logical_xor");
}
Tensor logical_not(const Tensor& x) { return eq(x, 0.0); }

Tensor isnan(const Tensor& x) { return classify(x, FloatClass::nan); }
Tensor isinf(const Tensor& x) { return classify(x, FloatClass::inf); }
Tensor isfinite(const Tensor& x) { return classify(x, FloatClass::finite); }

}  // namespace tessera

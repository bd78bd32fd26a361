#include "ops/pointwise/arithmetic.h"

#include <cmath>

#include "autograd/apply.h"
#include "autograd/engine.h"
#include "ops/cpu/map.h"
#include "ops/pointwise/formulas.h"
#include "ops/reduce/sum.h"

namespace tessera {
namespace {

Tensor binary_output(const Tensor& a, const Tensor& b, std::string_view op) {
  TESSERA_CHECK(DTypeError, a.dtype() == b.dtype(), op, ": dtypes ", a.dtype(), " and ", b.dtype(),
                " differ; convert one with cast()");
  TESSERA_CHECK(DeviceError, a.device() == b.device(), op, ": devices ", a.device(), " and ",
                b.device(), " differ");
  return empty(broadcast_shapes(a.shape(), b.shape(), op), a.dtype(), a.device());
}

// Arithmetic on integers has no place for fractions, nor for scalars beyond i64.
void check_scalar(DType dtype, double v, std::string_view op) {
  TESSERA_CHECK(ValueError, is_floating(dtype) || (std::nearbyint(v) == v && std::abs(v) < 0x1p63),
                op, ": a tensor of ", dtype, " takes whole numbers of 64 bits, got ", v,
                "; convert it with cast()");
}

struct AddOp {
  static constexpr std::string_view name = "add";
  Shape a_shape, b_shape;
  Tensor forward(Ctx&, const Tensor& a, const Tensor& b) const {
    Tensor y = binary_output(a, b, name);
    kernel::add(y.device(), a, b, y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    return {ctx.needs_grad(0) ? sum_to(g, a_shape) : Tensor(),
            ctx.needs_grad(1) ? sum_to(g, b_shape) : Tensor()};
  }
};

struct SubOp {
  static constexpr std::string_view name = "sub";
  Shape a_shape, b_shape;
  Tensor forward(Ctx&, const Tensor& a, const Tensor& b) const {
    Tensor y = binary_output(a, b, name);
    kernel::sub(y.device(), a, b, y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    return {ctx.needs_grad(0) ? sum_to(g, a_shape) : Tensor(),
            ctx.needs_grad(1) ? sum_to(-g, b_shape) : Tensor()};
  }
};

struct MulOp {
  static constexpr std::string_view name = "mul";
  Tensor forward(Ctx& ctx, const Tensor& a, const Tensor& b) const {
    ctx.save({a, b});
    Tensor y = binary_output(a, b, name);
    kernel::mul(y.device(), a, b, y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    const Tensor a = ctx.saved(0), b = ctx.saved(1);
    return {ctx.needs_grad(0) ? sum_to(g * b, a.shape()) : Tensor(),
            ctx.needs_grad(1) ? sum_to(g * a, b.shape()) : Tensor()};
  }
};

struct DivOp {
  static constexpr std::string_view name = "div";
  Tensor forward(Ctx& ctx, const Tensor& a, const Tensor& b) const {
    ctx.save({a, b});
    Tensor y = binary_output(a, b, name);
    kernel::div(y.device(), a, b, y);
    return y;
  }
  // d(a / b) = g / b, -g a / b^2.
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    const Tensor a = ctx.saved(0), b = ctx.saved(1);
    const Tensor ga = g / b;
    return {ctx.needs_grad(0) ? sum_to(ga, a.shape()) : Tensor(),
            ctx.needs_grad(1) ? sum_to(-(ga * (a / b)), b.shape()) : Tensor()};
  }
};

struct AffineOp {
  static constexpr std::string_view name = "affine";
  double scale, shift;
  Tensor forward(Ctx&, const Tensor& x) const {
    check_scalar(x.dtype(), scale, name);
    check_scalar(x.dtype(), shift, name);
    Tensor y = empty_like(x);
    kernel::affine(x.device(), x, scale, shift, y);
    return y;
  }
  Grads backward(const Ctx&, const Tensor& g) const {
    return {scale == 1.0 ? g : affine(g, scale, 0.0)};
  }
};

struct ReciprocalOp {
  static constexpr std::string_view name = "reciprocal";
  double scale;
  Tensor forward(Ctx& ctx, const Tensor& x) const {
    TESSERA_CHECK(DTypeError, is_floating(x.dtype()), "reciprocal: needs a floating dtype, got ",
                  x.dtype());
    ctx.save({x});
    Tensor y = empty_like(x);
    kernel::reciprocal(x.device(), x, scale, y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    const Tensor x = ctx.saved(0);
    return {g * reciprocal(x * x, -scale)};
  }
};

template <class Formula>
void binary_cpu(const Tensor& a, const Tensor& b, Tensor& y) {
  dispatch_number(y.dtype(), "arithmetic",
                  [&]<class T>() { cpu::map<T, T, T>(y, Formula{}, a, b); });
}

void div_cpu(const Tensor& a, const Tensor& b, Tensor& y) {
  if (!is_floating(b.dtype()))
    for (int64_t v : b.to_vector<int64_t>())
      TESSERA_CHECK(ValueError, v != 0, "div: integer division by zero");
  binary_cpu<math::Div>(a, b, y);
}

void affine_cpu(const Tensor& x, double scale, double shift, Tensor& y) {
  dispatch_number(y.dtype(), "affine", [&]<class T>() {
    using C = compute_t<T>;
    cpu::map<T, T>(y, math::Affine<C>{math::scalar_as<C>(scale), math::scalar_as<C>(shift)}, x);
  });
}

void reciprocal_cpu(const Tensor& x, double scale, Tensor& y) {
  dispatch_floating(y.dtype(), "reciprocal", [&]<class T>() {
    using C = compute_t<T>;
    cpu::map<T, T>(y, math::Reciprocal<C>{static_cast<C>(scale)}, x);
  });
}

void axpby_cpu(Tensor& a, double alpha_a, const Tensor& b, double alpha_b) {
  dispatch_number(a.dtype(), "axpby", [&]<class T>() {
    using C = compute_t<T>;
    const C p = math::scalar_as<C>(alpha_a), q = math::scalar_as<C>(alpha_b);
    if (p == C(1) && q == C(1)) return cpu::map<T, T, T>(a, math::Add{}, a, b);
    cpu::map<T, T, T>(a, math::Axpby<C>{p, q}, a, b);
  });
}

// Checks the operands of a := f(a, b) and returns b, or a copy where it is another view of a's
// memory: its elements would change while they are read.
Tensor inplace_operand(const Tensor& a, const Tensor& b, std::string_view op) {
  check_inplace(a, op);
  TESSERA_CHECK(DTypeError, a.dtype() == b.dtype(), op, ": dtypes ", a.dtype(), " and ", b.dtype(),
                " differ");
  TESSERA_CHECK(DeviceError, a.device() == b.device(), op, ": devices ", a.device(), " and ",
                b.device(), " differ");
  TESSERA_CHECK(ShapeError, broadcast_shapes(a.shape(), b.shape(), op) == a.shape(), op, ": ",
                b.shape(), " does not broadcast to ", a.shape());
  const bool same = a.shape() == b.shape() && a.strides() == b.strides() &&
                    a.impl_ptr()->offset == b.impl_ptr()->offset;
  return a.shares_storage(b) && !same ? view::clone(b) : b;
}

}  // namespace

constinit KernelSlot<void(const Tensor&, const Tensor&, Tensor&)> kernel::add{"add"};
constinit KernelSlot<void(const Tensor&, const Tensor&, Tensor&)> kernel::sub{"sub"};
constinit KernelSlot<void(const Tensor&, const Tensor&, Tensor&)> kernel::mul{"mul"};
constinit KernelSlot<void(const Tensor&, const Tensor&, Tensor&)> kernel::div{"div"};
constinit KernelSlot<void(const Tensor&, double, double, Tensor&)> kernel::affine{"affine"};
constinit KernelSlot<void(const Tensor&, double, Tensor&)> kernel::reciprocal{"reciprocal"};
constinit KernelSlot<void(Tensor&, double, const Tensor&, double)> kernel::axpby{"axpby"};
TESSERA_KERNEL(add, cpu, binary_cpu<math::Add>);
TESSERA_KERNEL(sub, cpu, binary_cpu<math::Sub>);
TESSERA_KERNEL(mul, cpu, binary_cpu<math::Mul>);
TESSERA_KERNEL(div, cpu, div_cpu);
TESSERA_KERNEL(affine, cpu, affine_cpu);
TESSERA_KERNEL(reciprocal, cpu, reciprocal_cpu);
TESSERA_KERNEL(axpby, cpu, axpby_cpu);

Tensor add(const Tensor& a, const Tensor& b) { return apply(AddOp{a.shape(), b.shape()}, a, b); }
Tensor sub(const Tensor& a, const Tensor& b) { return apply(SubOp{a.shape(), b.shape()}, a, b); }
Tensor mul(const Tensor& a, const Tensor& b) { return apply(MulOp{}, a, b); }
Tensor div(const Tensor& a, const Tensor& b) { return apply(DivOp{}, a, b); }
Tensor affine(const Tensor& x, double scale, double shift) {
  return apply(AffineOp{scale, shift}, x);
}
Tensor reciprocal(const Tensor& x, double scale) { return apply(ReciprocalOp{scale}, x); }

void add_(Tensor& a, const Tensor& b) { add_scaled_(a, b, 1.0); }

void add_scaled_(Tensor& a, const Tensor& b, double alpha) {
  const Tensor operand = inplace_operand(a, b, "add_");
  check_scalar(a.dtype(), alpha, "add_scaled_");
  kernel::axpby(a.device(), a, 1.0, operand, alpha);
  a.bump_version();
}

void lerp_(Tensor& a, const Tensor& b, double weight) {
  TESSERA_CHECK(DTypeError, is_floating(a.dtype()), "lerp_: needs a floating dtype, got ",
                a.dtype(), " of shape ", a.shape());
  const Tensor operand = inplace_operand(a, b, "lerp_");
  kernel::axpby(a.device(), a, 1.0 - weight, operand, weight);
  a.bump_version();
}

void mul_(Tensor& a, const Tensor& b) {
  const Tensor operand = inplace_operand(a, b, "mul_");
  kernel::mul(a.device(), a, operand, a);
  a.bump_version();
}

void affine_(Tensor& a, double scale, double shift) {
  check_inplace(a, "affine_");
  check_scalar(a.dtype(), scale, "affine_");
  check_scalar(a.dtype(), shift, "affine_");
  kernel::affine(a.device(), a, scale, shift, a);
  a.bump_version();
}

namespace {
[[maybe_unused]] const bool hooks_set = (detail::set_add_hooks({&add, &add_}), true);
}

}  // namespace tessera

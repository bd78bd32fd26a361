#include "ops/pointwise/where.h"

#include "autograd/apply.h"
#include "ops/cpu/map.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/formulas.h"
#include "ops/reduce/sum.h"

namespace tessera {
namespace {

void where_cpu(const Tensor& condition, const Tensor& a, const Tensor& b, Tensor& y) {
  dispatch_all(y.dtype(), "where",
               [&]<class T>() { cpu::map<T, bool, T, T>(y, math::Select{}, condition, a, b); });
}

struct WhereOp {
  static constexpr std::string_view name = "where";
  Shape a_shape, b_shape;

  Tensor forward(Ctx& ctx, const Tensor& condition, const Tensor& a, const Tensor& b) const {
    TESSERA_CHECK(DTypeError, condition.dtype() == DType::boolean && a.dtype() == b.dtype(),
                  "where: needs a bool condition and one dtype, got ", condition.dtype(), " ",
                  condition.shape(), ", ", a.dtype(), " ", a.shape(), ", ", b.dtype(), " ",
                  b.shape());
    TESSERA_CHECK(DeviceError, condition.device() == a.device() && a.device() == b.device(),
                  "where: devices ", condition.device(), ", ", a.device(), " and ", b.device(),
                  " differ");
    ctx.save({condition});
    const Shape values = broadcast_shapes(a.shape(), b.shape(), name);
    Tensor y = empty(broadcast_shapes(condition.shape(), values, name), a.dtype(), a.device());
    kernel::where(y.device(), condition, a, b, y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    const Tensor condition = ctx.saved(0), zero = zeros({}, g.dtype(), g.device());
    Grads out(3);
    if (ctx.needs_grad(1)) out[1] = sum_to(where(condition, g, zero), a_shape);
    if (ctx.needs_grad(2)) out[2] = sum_to(where(condition, zero, g), b_shape);
    return out;
  }
};

}  // namespace

constinit KernelSlot<void(const Tensor&, const Tensor&, const Tensor&, Tensor&)> kernel::where{
    "where"};
TESSERA_KERNEL(where, cpu, where_cpu);

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  return apply(WhereOp{a.shape(), b.shape()}, condition, a, b);
}

Tensor lerp(const Tensor& a, const Tensor& b, double weight) { return a + (b - a) * weight; }
Tensor lerp(const Tensor& a, const Tensor& b, const Tensor& weight) { return a + (b - a) * weight; }

}  // namespace tessera

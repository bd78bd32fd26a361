#include "ops/reduce/sum.h"

#include "autograd/apply.h"
#include "ops/cpu/reduce.h"
#include "ops/index/view.h"

namespace tessera {
namespace {

template <class T, class Out>
void sum_typed(const Tensor& x, Tensor& y) {
  cpu::reduce<T>(cpu::plan_reduction(x, y.shape()), reducers::Sum<T, Out>{}, y.data<Out>());
}

void sum_cpu(const Tensor& x, Tensor& y) {
  if (x.numel() == 0) return kernel::fill(kCpu, y, 0.0);
  if (is_floating(x.dtype())) {
    dispatch_floating(x.dtype(), "sum", [&]<class T>() { sum_typed<T, T>(x, y); });
  } else {
    dispatch<int64_t, int32_t, uint8_t, bool>(x.dtype(), "sum",
                                              [&]<class T>() { sum_typed<T, int64_t>(x, y); });
  }
}

struct SumOp {
  static constexpr std::string_view name = "sum";
  Shape input, kept;  // kept: input with the summed axes as 1
  Tensor forward(Ctx&, const Tensor& x) const {
    Tensor y = empty(kept, is_floating(x.dtype()) ? x.dtype() : DType::i64, x.device());
    kernel::sum(x.device(), x, y);
    return y;
  }
  Grads backward(const Ctx&, const Tensor& g) const { return {broadcast_to(g, input)}; }
};

}  // namespace

constinit KernelSlot<void(const Tensor&, Tensor&)> kernel::sum{"sum"};
TESSERA_KERNEL(sum, cpu, sum_cpu);

Tensor sum(const Tensor& x, const Dims& axes, bool keepdim) {
  const ReducedShape r = reduced_shape(x.shape(), axes, "sum");
  const Tensor y = apply(SumOp{x.shape(), r.kept}, x);
  return keepdim ? y : reshape(y, r.dropped);
}

Tensor sum_to(const Tensor& g, const Shape& shape) {
  if (g.shape() == shape) return g;
  TESSERA_CHECK(ShapeError, broadcast_shapes(g.shape(), shape, "sum_to") == g.shape(),
                "sum_to: ", shape, " does not broadcast to ", g.shape());
  const int lead = g.rank() - shape.rank();
  Dims axes;
  for (int axis = 0; axis < g.rank(); ++axis)
    if (axis < lead || (shape[axis - lead] == 1 && g.shape()[axis] != 1)) axes.push_back(axis);
  return reshape(axes.empty() ? g : sum(g, axes, true), shape);
}

}  // namespace tessera

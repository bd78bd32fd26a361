#include "ops/loss/reduction.h"

#include "ops/reduce/moments.h"
#include "ops/reduce/sum.h"

namespace tessera {

Tensor reduce_loss(const Tensor& loss, Reduction reduction) {
  if (reduction == Reduction::none) return loss;
  return reduction == Reduction::sum ? sum(loss) : mean(loss);
}

void check_loss_inputs(const Tensor& input, const Tensor& target, const Tensor& weight,
                       std::string_view op) {
  TESSERA_CHECK(DTypeError, is_floating(input.dtype()), op, ": needs a floating dtype, got ",
                input.dtype());
  TESSERA_CHECK(ShapeError, target.shape() == input.shape(), op, ": target ", target.shape(),
                " must have the input's shape ", input.shape());
  TESSERA_CHECK(DTypeError, target.dtype() == input.dtype(), op, ": target is ", target.dtype(),
                ", the input is ", input.dtype(), "; convert it with cast()");
  if (!weight.defined()) return;
  TESSERA_CHECK(DTypeError, weight.dtype() == input.dtype(), op, ": weight is ", weight.dtype(),
                ", the input is ", input.dtype());
  TESSERA_CHECK(ShapeError, broadcast_shapes(weight.shape(), input.shape(), op) == input.shape(),
                op, ": weight ", weight.shape(), " does not broadcast to the input's ",
                input.shape());
}

}  // namespace tessera

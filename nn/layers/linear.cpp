#include "nn/layers/linear.h"

#include "nn/init.h"
#include "nn/mac_counter.h"
#include "ops/linalg/matmul.h"

namespace tessera::nn {

Linear::Linear(int64_t in, int64_t out, bool with_bias) {
  weight = add_parameter("weight", init::blank({out, in}));
  init::fan_in_uniform_(weight.detach(), in);
  if (!with_bias) return;
  bias = add_parameter("bias", init::blank({out}));
  init::fan_in_uniform_(bias.detach(), in);
}

Tensor Linear::forward(const Tensor& x) {
  const Tensor y = linear(x, weight, bias);
  int64_t rows = 1;  // of one image
  for (int axis = 1; axis + 1 < x.rank(); ++axis) rows *= x.shape()[axis];
  MacCounter::add(rows * weight.numel());
  return y;
}

}  // namespace tessera::nn

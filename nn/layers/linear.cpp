#include "nn/layers/linear.h"

#include <cmath>

#include "nn/init.h"
#include "nn/mac_counter.h"
#include "ops/linalg/matmul.h"

namespace tessera::nn {

Linear::Linear(int64_t in, int64_t out, bool with_bias) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(in));
  weight = add_parameter("weight", empty({out, in}));
  init::uniform_(weight.detach(), -bound, bound);
  if (!with_bias) return;
  bias = add_parameter("bias", empty({out}));
  init::uniform_(bias.detach(), -bound, bound);
}

Tensor Linear::forward(const Tensor& x) {
  MacCounter::add(x.numel() * weight.shape()[0]);
  return linear(x, weight, bias);
}

}  // namespace tessera::nn

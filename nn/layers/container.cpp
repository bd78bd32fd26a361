#include "nn/layers/container.h"

#include "ops/index/view.h"

namespace tessera::nn {

Tensor Sequential::forward(const Tensor& x) {
  Tensor y = x;
  for (const auto& [name, module] : children()) y = module->forward(y);
  return y;
}

Tensor Flatten::forward(const Tensor& x) {
  if (x.rank() == 4 && x.shape()[1] * x.shape()[2] != 1)
    return flatten(permute(x, {0, 3, 1, 2}), 1);
  return flatten(x, 1);
}

}  // namespace tessera::nn

#include "ops/pointwise/activation.h"

#include "ops/pointwise/relu.h"

namespace tessera {

Tensor activate(const Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return relu(x);
    case Activation::relu6:
      return relu6(x);
  }
  throw ValueError(cat("activate: no activation ", static_cast<int>(activation)));
}

}  // namespace tessera

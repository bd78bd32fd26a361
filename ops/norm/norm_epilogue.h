#pragma once

#include "ops/pointwise/activation.h"

namespace tessera {

/// What a norm does to its result in the pass that writes it: activation(y + residual).
struct NormEpilogue {
  Tensor residual{};  ///< of the norm's input's shape and dtype, or undefined: added
  Activation activation = Activation::none;
};

}  // namespace tessera

#pragma once

#include "ops/pointwise/activation.h"

namespace tessera {

/// What a norm does to its result in the pass that writes it: activation(y + residual).
struct NormEpilogue {
  Tensor residual{};  ///< of the norm's input's shape and dtype, or undefined: added
  Activation activation = Activation::none;
};

template <class F>
void visit_tensors(const NormEpilogue& epilogue, F&& f) {
  visit_tensors(epilogue.residual, f);
}

}  // namespace tessera

#pragma once

#include "tensor/tensor.h"

namespace tessera {

/// Activations that a kernel can apply to its result before writing it (ops/conv/conv2d.h,
/// ops/norm/norm_epilogue.h).
enum class Activation { none, relu, relu6 };

/// The operator of that name; `none` returns x itself.
Tensor activate(const Tensor& x, Activation activation);

}  // namespace tessera

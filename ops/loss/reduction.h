#pragma once

#include <string_view>

#include "tensor/tensor.h"

namespace tessera {

/// What a loss does with its elements: keep them, or return their mean or sum as a scalar. The mean
/// of no elements is NaN.
enum class Reduction { none, mean, sum };

/// Applies `reduction` to a loss per element. Differentiable to any order.
Tensor reduce_loss(const Tensor& loss, Reduction reduction);

/// Throws unless input is floating and target (and weight, if defined, which may broadcast) has its
/// dtype and shape; messages start with `op`.
void check_loss_inputs(const Tensor& input, const Tensor& target, const Tensor& weight,
                       std::string_view op);

}  // namespace tessera

#pragma once

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

/// Attributes of a unary pointwise kernel; what a and b mean is said at the formula
/// (ops/pointwise/pointwise_formulas.h).
struct PointwiseArgs {
  double a = 0, b = 0;
};

/// y = f(x), the shapes and dtypes equal; x has any strides, y is contiguous and may be x itself.
using PointwiseSlot = KernelSlot<void(const Tensor& x, PointwiseArgs args, Tensor& y)>;
/// gx = g * f'(saved), saved being x or y as the formula says; g and saved have gx's shape and any
/// strides, gx is contiguous.
using PointwiseGradSlot =
    KernelSlot<void(const Tensor& g, const Tensor& saved, PointwiseArgs args, Tensor& gx)>;

}  // namespace tessera

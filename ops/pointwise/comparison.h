#pragma once

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

/// Elementwise comparisons: bool tensors, without gradient. Tensors broadcast and have one dtype
/// and one device (DTypeError, DeviceError, ShapeError otherwise). A scalar is compared in the
/// dtype of a floating x and exactly with an integer x. NaN is unequal to everything.
Tensor eq(const Tensor& a, const Tensor& b);
Tensor ne(const Tensor& a, const Tensor& b);
Tensor lt(const Tensor& a, const Tensor& b);
Tensor le(const Tensor& a, const Tensor& b);
Tensor gt(const Tensor& a, const Tensor& b);
Tensor ge(const Tensor& a, const Tensor& b);
Tensor eq(const Tensor& x, double s);
Tensor ne(const Tensor& x, double s);
Tensor lt(const Tensor& x, double s);
Tensor le(const Tensor& x, double s);
Tensor gt(const Tensor& x, double s);
Tensor ge(const Tensor& x, double s);

/// Logic on tensors of any dtype, non-zero being true; the operands broadcast and may differ in
/// dtype. Bool results.
Tensor logical_and(const Tensor& a, const Tensor& b);
Tensor logical_or(const Tensor& a, const Tensor& b);
Tensor logical_xor(const Tensor& a, const Tensor& b);
Tensor logical_not(const Tensor& x);

/// Bool tensors; integers are always finite.
Tensor isnan(const Tensor& x);
Tensor isinf(const Tensor& x);
Tensor isfinite(const Tensor& x);

enum class Comparison { eq, ne, lt, le, gt, ge };
enum class Logic { logical_and, logical_or, logical_xor };
enum class FloatClass { nan, inf, finite };

namespace kernel {
/// y is bool. a and b have one dtype and broadcast to y.
extern KernelSlot<void(const Tensor& a, const Tensor& b, Comparison op, Tensor& y)> compare;
extern KernelSlot<void(const Tensor& x, double s, Comparison op, Tensor& y)> compare_scalar;
/// a and b are bool and broadcast to y.
extern KernelSlot<void(const Tensor& a, const Tensor& b, Logic op, Tensor& y)> logic;
/// x is floating.
extern KernelSlot<void(const Tensor& x, FloatClass which, Tensor& y)> classify;
}  // namespace kernel

}  // namespace tessera

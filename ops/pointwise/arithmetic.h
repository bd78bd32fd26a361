#pragma once

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

/// Elementwise arithmetic with NumPy broadcasting. Both operands have one dtype, any but bool
/// (DTypeError otherwise; convert with `cast`), and one device. Integers wrap; their division
/// truncates, and a zero divisor is ValueError. Differentiable to any order. Throws ShapeError when
/// the shapes do not broadcast.
Tensor add(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);
Tensor div(const Tensor& a, const Tensor& b);

/// scale * x + shift for scalars, one pass. Integer tensors take scalars that are whole numbers
/// below 2^63 (ValueError).
/// Differentiable to any order.
Tensor affine(const Tensor& x, double scale, double shift);

/// scale / x.
Tensor reciprocal(const Tensor& x, double scale = 1.0);

inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator-(const Tensor& x) { return affine(x, -1.0, 0.0); }
inline Tensor operator+(const Tensor& x, double s) { return affine(x, 1.0, s); }
inline Tensor operator+(double s, const Tensor& x) { return affine(x, 1.0, s); }
inline Tensor operator-(const Tensor& x, double s) { return affine(x, 1.0, -s); }
inline Tensor operator-(double s, const Tensor& x) { return affine(x, -1.0, s); }
inline Tensor operator*(const Tensor& x, double s) { return affine(x, s, 0.0); }
inline Tensor operator*(double s, const Tensor& x) { return affine(x, s, 0.0); }
inline Tensor operator/(const Tensor& x, double s) { return affine(x, 1.0 / s, 0.0); }
inline Tensor operator/(double s, const Tensor& x) { return reciprocal(x, s); }

/// In-place forms for buffers and optimizer state: b is broadcast to a, which keeps its shape, and
/// may be a view of it. Not recorded; Error when a requires a gradient and recording is on.
void add_(Tensor& a, const Tensor& b);
void mul_(Tensor& a, const Tensor& b);
/// a := scale * a + shift.
void affine_(Tensor& a, double scale, double shift);
/// a := a + alpha * b.
void add_scaled_(Tensor& a, const Tensor& b, double alpha);
/// a := a + weight * (b - a): moving averages. Floating tensors (DTypeError).
void lerp_(Tensor& a, const Tensor& b, double weight);

namespace kernel {
/// a and b broadcast to y; y may be a itself.
extern KernelSlot<void(const Tensor&a, const Tensor&b, Tensor&y)> add, sub, mul, div;
extern KernelSlot<void(const Tensor& x, double scale, double shift, Tensor& y)> affine;
extern KernelSlot<void(const Tensor& x, double scale, Tensor& y)> reciprocal;
/// a := alpha_a * a + alpha_b * b, b broadcast to a.
extern KernelSlot<void(Tensor& a, double alpha_a, const Tensor& b, double alpha_b)> axpby;
}  // namespace kernel

}  // namespace tessera

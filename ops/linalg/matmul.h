#pragma once

#include "tensor/tensor.h"

namespace tessera {

/// Matrix product of floating tensors of one dtype and device.
///   (K) x (K) -> ()            (M, K) x (K) -> (M)         (K) x (K, N) -> (N)
///   (..., M, K) x (..., K, N) -> (..., M, N), leading axes broadcast
/// Transposed operands are read through their strides. Differentiable to any order. Throws
/// ShapeError (ranks, K, leading axes), DTypeError, DeviceError. Cost: 2 M N K flops per matrix.
Tensor matmul(const Tensor& a, const Tensor& b);

/// Matrix product batch by batch: (B, M, K) x (B, K, N) -> (B, M, N). What matmul is made of.
/// Differentiable to any order.
Tensor bmm(const Tensor& a, const Tensor& b);

/// x weight^T + bias: (..., in) x (out, in) -> (..., out); bias (out) may be undefined and is added
/// inside the product. Differentiable to any order. Throws ShapeError, DTypeError, DeviceError.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

/// (M), (N) -> (M, N) and (K), (K) -> (), through matmul.
Tensor outer(const Tensor& a, const Tensor& b);
Tensor dot(const Tensor& a, const Tensor& b);

}  // namespace tessera

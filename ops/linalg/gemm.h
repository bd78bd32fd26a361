#pragma once

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera::kernel {

/// y(b, m, n) = sum over k of a(b, m, k) * bt(b, k, n), plus bias(n) where `bias` is defined.
///   a     (B, M, K)   any strides: transposed and broadcast operands need no copy
///   b     (B, K, N)   any strides
///   bias  (N)         contiguous, or undefined
///   y     (B, M, N)   contiguous; written, not read
/// One floating dtype. K = 0 gives the bias or zeros. f32 runs on oneDNN, its primitives cached per
/// thread; f64, and f32 in reference builds, on a blocked kernel that is the specification; half
/// types go through f32. Deterministic for a given number of threads; the blocked kernel for any.
extern KernelSlot<void(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y)> gemm;

}  // namespace tessera::kernel

namespace tessera::cpu {

/// The plain kernel behind kernel::gemm for f32 and f64: packed blocks, vectorised micro-kernel,
/// parallel over blocks of the result.
void gemm_blocked(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y);
#if !defined(TESSERA_REFERENCE)
/// f32 by oneDNN.
void gemm_onednn(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y);
#endif

}  // namespace tessera::cpu

#pragma once

#include "tensor/tensor.h"

namespace tessera::cuda {

/// kernel::gemm on the GPU by kernels of our own (cuda/gemm_tile.cuh): every floating dtype, half
/// types computed in f32, any strides. The same bits every time.
void gemm_own(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y);

}  // namespace tessera::cuda

#pragma once

#include "ops/conv/conv_shape.h"

/// The kernels of our own behind the convolution slots on the GPU, for conv2d.cu to choose from and
/// for tests to compare. Tensors as in the slots' contract (conv2d.h) and not empty; every floating
/// dtype, half types computed in f32. Deterministic.
namespace tessera::conv::cuda {

/// Any convolution, as a matrix product with an unfolded image that is never stored.
namespace implicit_gemm {
void forward(const ConvShape& s, const Tensor& x, const Tensor& w, const ConvEpilogue& epilogue,
             Tensor& y);
void input_grad(const ConvShape& s, const Tensor& g, const Tensor& w, Tensor& gx);
void weight_grad(const ConvShape& s, const Tensor& g, const Tensor& x, Tensor& gw);
}  // namespace implicit_gemm

/// groups == C, O a multiple of C.
namespace depthwise {
inline bool applies(const ConvShape& s) { return s.groups == s.c && s.c > 1; }
void forward(const ConvShape& s, const Tensor& x, const Tensor& w, const ConvEpilogue& epilogue,
             Tensor& y);
void input_grad(const ConvShape& s, const Tensor& g, const Tensor& w, Tensor& gx);
void weight_grad(const ConvShape& s, const Tensor& g, const Tensor& x, Tensor& gw);
}  // namespace depthwise

}  // namespace tessera::conv::cuda

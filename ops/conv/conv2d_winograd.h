#pragma once

#include "ops/conv/conv2d_cpu.h"

/// 3 x 3 convolutions of stride 1 in f32 by Winograd's F(4 x 4, 3 x 3) (Lavin and Gray, arXiv
/// 1509.09308). The order of every sum is fixed: the same bits for any number of threads. Against
/// float64 the error stays below 3e-5 of the largest output, some ten times that of a direct sum.
namespace tessera::conv::winograd {

/// Stride, dilation and groups 1, padding at most 2.
bool applies(const ConvShape& s);
/// Whether it is expected to be faster than direct convolution, by a count of operations and bytes:
/// a rule instead of a timing, so that a run can be repeated bit for bit. `weights_stay`: the
/// filters' transform is made once for many calls.
bool pays(const ConvShape& s, bool weights_stay);

/// As conv2d.h has them; `w` in its own layout, transformed filters are kept (packed_weights.h).
void forward(const ConvShape& s, const float* x, const Tensor& w, const ConvEpilogue& epilogue,
             float* y);
void input_grad(const ConvShape& s, const float* g, const Tensor& w, float* gx);
void weight_grad(const ConvShape& s, const float* g, const float* x, float* gw);

}  // namespace tessera::conv::winograd

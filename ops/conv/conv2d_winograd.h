#pragma once

#include "ops/conv/conv2d_cpu.h"

/// 3 x 3 convolutions of stride 1 in f32 by Winograd's F(4 x 4, 3 x 3), forward and, with turned
/// filters, input gradient. The order of every sum is fixed: the same bits for any number of
/// threads.
namespace tessera::conv::winograd {

/// Stride, dilation and groups 1, padding at most 2.
bool applies(const ConvShape& s);

/// A 3 x 3 filter bank by strides in elements: a gradient's is the same memory seen from its end.
struct FilterView {
  const float* data;
  int64_t out_stride, in_stride, kh_stride, kw_stride;
};

/// Floats that pack_filters writes.
int64_t packed_filter_floats(int64_t in, int64_t out);
/// Transforms a filter bank of `in` and `out` channels into the order that run() reads.
void pack_filters(int64_t in, int64_t out, const FilterView& w, float* packed);

/// Pointers may be null: (O) added, (N, Ho, Wo, O) added.
struct Epilogue {
  const float* bias = nullptr;
  const float* residual = nullptr;
  bool relu = false;
};
/// y = epilogue(conv(x)) with the packed filters; residual may be y.
void run(const ConvShape& s, const float* x, const float* filters, const Epilogue& epilogue,
         float* y);

/// Gradient in the filters, gw (O, 3, 3, C) overwritten.
void weight_grad(const ConvShape& s, const float* g, const float* x, float* gw);

}  // namespace tessera::conv::winograd

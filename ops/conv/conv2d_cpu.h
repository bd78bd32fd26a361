#pragma once

#include "ops/conv/conv_shape.h"

/// The CPU kernels behind the convolution slots, for conv2d_cpu.cpp to choose from and for tests to
/// compare. Pointers are to contiguous data in the layouts of conv2d.h; outputs are overwritten.
namespace tessera::conv {

/// The specification: nested loops, parallel over output rows. T is float or double.
namespace plain {
template <class T>
void forward(const ConvShape& s, const T* x, const T* w, const T* bias, T* y);
template <class T>
void input_grad(const ConvShape& s, const T* g, const T* w, T* gx);
template <class T>
void weight_grad(const ConvShape& s, const T* g, const T* x, T* gw);
}  // namespace plain

/// Implicit GEMM: tiles of the unfolded image are packed on the fly, nothing larger is stored.
/// Deterministic for any number of threads. T is float or double.
namespace implicit_gemm {
template <class T>
void forward(const ConvShape& s, const T* x, const T* w, const T* bias, T* y);
template <class T>
void input_grad(const ConvShape& s, const T* g, const T* w, T* gx);
template <class T>
void weight_grad(const ConvShape& s, const T* g, const T* x, T* gw);
}  // namespace implicit_gemm

/// groups == C, O a multiple of C. Vectorised over channels; O > C repeats the image's channels
/// first. Deterministic for any number of threads. T is float or double.
namespace depthwise {
/// False for a single input channel, which is better off as an ordinary convolution.
bool applies(const ConvShape& s);
template <class T>
void forward(const ConvShape& s, const T* x, const T* w, const T* bias, T* y,
             Activation activation = Activation::none);
template <class T>
void input_grad(const ConvShape& s, const T* g, const T* w, T* gx);
template <class T>
void weight_grad(const ConvShape& s, const T* g, const T* x, T* gw);
}  // namespace depthwise

/// 1 x 1 filters without padding in f32: a product of pixels and filters with the epilogue in
/// registers. Deterministic for any number of threads. Packed filters are kept (packed_weights.h).
namespace pointwise {
bool applies(const ConvShape& s);
void forward(const ConvShape& s, const float* x, const Tensor& w, const ConvEpilogue& epilogue,
             float* y);
void input_grad(const ConvShape& s, const float* g, const Tensor& w, float* gx);
}  // namespace pointwise

/// The weight gradient of ungrouped filters in f32 as a product with the unfolded image, which is
/// never stored as a whole. Deterministic for any number of threads.
namespace unfolded {
/// Whether it is expected to be faster than oneDNN's.
bool pays(const ConvShape& s);
void weight_grad(const ConvShape& s, const float* g, const float* x, float* gw);
}  // namespace unfolded

/// The gradient of the image in f32, for ungrouped filters not dilated along a row: a product whose
/// rows, one per output pixel, are added to the image. Meant for images of few channels.
/// Deterministic for any number of threads.
namespace scattered {
bool applies(const ConvShape& s);
/// Whether it is expected to be faster than oneDNN's.
bool pays(const ConvShape& s);
void input_grad(const ConvShape& s, const float* g, const float* w, float* gx);
}  // namespace scattered

#if !defined(TESSERA_REFERENCE)
/// oneDNN in f32. Primitives are cached by shape and thread count, filters in oneDNN's own layout
/// (ops/cpu/onednn.h). Images are used as they are.
/// Each returns false, having done nothing, where oneDNN has no vectorised implementation.
namespace onednn {
bool forward(const ConvShape& s, const float* x, const Tensor& w, const ConvEpilogue& epilogue,
             float* y);
bool input_grad(const ConvShape& s, const float* g, const Tensor& w, float* gx);
bool weight_grad(const ConvShape& s, const float* g, const float* x, float* gw);

enum class Pass { forward, input_grad, weight_grad };
/// The name of the implementation oneDNN chooses, e.g. "brgconv:avx512_core".
std::string implementation(const ConvShape& s, Pass pass);
}  // namespace onednn
#endif

}  // namespace tessera::conv

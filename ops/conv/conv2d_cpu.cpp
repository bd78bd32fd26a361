// Chooses the CPU kernel of a convolution: depthwise; in f32 the product of pixels for 1 x 1
// filters, Winograd's where it pays, for weight gradients the product with the unfolded image where
// that pays, for the gradients of images of few channels the product that is scattered, else
// oneDNN; implicit GEMM for f64 and for what oneDNN would run unvectorised. The reference build has
// only the plain loops.
#include "ops/conv/conv2d_cpu.h"

#include <cstdlib>
#include <string_view>

#include "ops/conv/conv2d_winograd.h"
#include "tensor/parallel.h"
#include "tensor/view.h"

namespace tessera {
namespace {

using conv::ConvShape;

bool is_half(DType dtype) { return dtype == DType::f16 || dtype == DType::bf16; }

// y := activation(y + residual), for the kernels that have no such epilogue of their own.
template <class T>
void finish(const ConvEpilogue& epilogue, int64_t count, T* y) {
  const bool active = epilogue.activation != Activation::none;
  if (!epilogue.residual.defined() && !active) return;
  const conv::Clamp<T> clamp(epilogue.activation);
  const T* residual = epilogue.residual.defined() ? epilogue.residual.data<T>() : nullptr;
  parallel_for(0, count, 16384, [&](int64_t begin, int64_t end) {
    if (residual)
      for (int64_t i = begin; i < end; ++i) y[i] += residual[i];
    if (active)
      for (int64_t i = begin; i < end; ++i) y[i] = clamp(y[i]);
  });
}

#if !defined(TESSERA_REFERENCE)
enum class Choice { automatic, direct, winograd };

Choice choice() {
  static const Choice chosen = [] {
    const char* text = std::getenv("TESSERA_CONV_CPU");
    const std::string_view name = text ? text : "auto";
    TESSERA_CHECK(ValueError, name == "auto" || name == "direct" || name == "winograd",
                  "TESSERA_CONV_CPU must be auto, direct or winograd, got '", name, "'");
    return name == "auto"     ? Choice::automatic
           : name == "direct" ? Choice::direct
                              : Choice::winograd;
  }();
  return chosen;
}

bool use_winograd(const ConvShape& s, bool weights_stay) {
  if (choice() == Choice::automatic) return conv::winograd::pays(s, weights_stay);
  return choice() == Choice::winograd && conv::winograd::applies(s);
}
#endif

template <class T>
void forward_typed(const ConvShape& s, const T* x, const Tensor& w, const ConvEpilogue& epilogue,
                   T* y) {
  const T* filters = w.data<T>();
  const T* bias = epilogue.bias.defined() ? epilogue.bias.data<T>() : nullptr;
#if defined(TESSERA_REFERENCE)
  conv::plain::forward(s, x, filters, bias, y);
#else
  if (conv::depthwise::applies(s)) {
    if (!epilogue.residual.defined())
      return conv::depthwise::forward(s, x, filters, bias, y, epilogue.activation);
    conv::depthwise::forward(s, x, filters, bias, y);
    return finish(epilogue, s.n * s.ho * s.wo * s.o, y);
  }
  if constexpr (std::is_same_v<T, float>) {
    if (conv::pointwise::applies(s)) return conv::pointwise::forward(s, x, w, epilogue, y);
    if (use_winograd(s, epilogue.weights_stay))
      return conv::winograd::forward(s, x, w, epilogue, y);
    if (s.c > 0 && conv::onednn::forward(s, x, w, epilogue, y)) return;
  }
  conv::implicit_gemm::forward(s, x, filters, bias, y);
#endif
  finish(epilogue, s.n * s.ho * s.wo * s.o, y);
}

template <class T>
void input_grad_typed(const ConvShape& s, const T* g, const Tensor& w, T* gx) {
  const T* filters = w.data<T>();
#if defined(TESSERA_REFERENCE)
  conv::plain::input_grad(s, g, filters, gx);
#else
  if (conv::depthwise::applies(s)) return conv::depthwise::input_grad(s, g, filters, gx);
  if constexpr (std::is_same_v<T, float>) {
    if (conv::pointwise::applies(s)) return conv::pointwise::input_grad(s, g, w, gx);
    if (use_winograd(s, false)) return conv::winograd::input_grad(s, g, w, gx);
    if (conv::scattered::pays(s)) return conv::scattered::input_grad(s, g, filters, gx);
    if (conv::onednn::input_grad(s, g, w, gx)) return;
  }
  conv::implicit_gemm::input_grad(s, g, filters, gx);
#endif
}

template <class T>
void weight_grad_typed(const ConvShape& s, const T* g, const T* x, T* gw) {
#if defined(TESSERA_REFERENCE)
  conv::plain::weight_grad(s, g, x, gw);
#else
  if (conv::depthwise::applies(s)) return conv::depthwise::weight_grad(s, g, x, gw);
  if constexpr (std::is_same_v<T, float>) {
    if (use_winograd(s, false)) return conv::winograd::weight_grad(s, g, x, gw);
    if (conv::unfolded::pays(s)) return conv::unfolded::weight_grad(s, g, x, gw);
    if (conv::onednn::weight_grad(s, g, x, gw)) return;
  }
  conv::implicit_gemm::weight_grad(s, g, x, gw);
#endif
}

Tensor to_f32(const Tensor& t) { return t.defined() ? view::to(t, DType::f32) : t; }

void conv2d_cpu(const Tensor& x, const Tensor& w, const ConvEpilogue& epilogue,
                const Conv2dOptions& options, Tensor& y) {
  if (is_half(x.dtype())) {
    Tensor y32 = empty(y.shape(), DType::f32);
    conv2d_cpu(to_f32(x), to_f32(w),
               {to_f32(epilogue.bias), to_f32(epilogue.residual), epilogue.activation,
                epilogue.weights_stay},
               options, y32);
    return copy_(y, y32);
  }
  const ConvShape s = conv::make_shape(x.shape(), w.shape(), y.shape(), options);
  dispatch_float(x.dtype(), "conv2d",
                 [&]<class T>() { forward_typed(s, x.data<T>(), w, epilogue, y.data<T>()); });
}

void conv2d_input_grad_cpu(const Tensor& g, const Tensor& w, const Conv2dOptions& options,
                           Tensor& gx) {
  if (is_half(g.dtype())) {
    Tensor gx32 = empty(gx.shape(), DType::f32);
    conv2d_input_grad_cpu(to_f32(g), to_f32(w), options, gx32);
    return copy_(gx, gx32);
  }
  const ConvShape s = conv::make_shape(gx.shape(), w.shape(), g.shape(), options);
  dispatch_float(g.dtype(), "conv2d_input_grad",
                 [&]<class T>() { input_grad_typed(s, g.data<T>(), w, gx.data<T>()); });
}

void conv2d_weight_grad_cpu(const Tensor& g, const Tensor& x, const Conv2dOptions& options,
                            Tensor& gw) {
  if (is_half(g.dtype())) {
    Tensor gw32 = empty(gw.shape(), DType::f32);
    conv2d_weight_grad_cpu(to_f32(g), to_f32(x), options, gw32);
    return copy_(gw, gw32);
  }
  const ConvShape s = conv::make_shape(x.shape(), gw.shape(), g.shape(), options);
  dispatch_float(g.dtype(), "conv2d_weight_grad",
                 [&]<class T>() { weight_grad_typed(s, g.data<T>(), x.data<T>(), gw.data<T>()); });
}

TESSERA_KERNEL(conv2d, cpu, conv2d_cpu);
TESSERA_KERNEL(conv2d_input_grad, cpu, conv2d_input_grad_cpu);
TESSERA_KERNEL(conv2d_weight_grad, cpu, conv2d_weight_grad_cpu);

}  // namespace
}  // namespace tessera

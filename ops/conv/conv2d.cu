// Chooses the CUDA kernel of a convolution.
#include "ops/conv/conv2d.h"

#include "cuda/library.h"
#include "cuda/map.cuh"
#include "ops/conv/conv2d_cuda.h"

namespace tessera {
namespace {

namespace kernels = conv::cuda;
namespace library = cuda::library;

library::Conv2d library_shape(const conv::ConvShape& s) {
  return {s.n,  s.h,  s.w,  s.c,  s.o,  s.kh, s.kw, s.ho,
          s.wo, s.sh, s.sw, s.ph, s.pw, s.dh, s.dw, s.groups};
}
bool library_wanted() { return library::choice() == library::Choice::cudnn; }

template <class C>
struct AddAndClamp {
  conv::Clamp<C> clamp;
  TESSERA_HD C operator()(C y, C more) const { return clamp(y + more); }
};

// cuDNN's result still lacks its epilogue: a pass for each of the two sums, the last one clamps.
void add_epilogue(const ConvEpilogue& e, Tensor& y) {
  dispatch_floating(y.dtype(), "conv2d", [&]<class T>() {
    using C = compute_t<T>;
    const conv::Clamp<C> clamp(e.activation), none;
    if (e.bias.defined())
      cuda::map<T, T, T>(y, AddAndClamp<C>{e.residual.defined() ? none : clamp}, y, e.bias);
    if (e.residual.defined()) cuda::map<T, T, T>(y, AddAndClamp<C>{clamp}, y, e.residual);
    const bool clamped = e.bias.defined() || e.residual.defined();
    if (!clamped && e.activation != Activation::none) cuda::map<T, T>(y, clamp, y);
  });
}

void conv2d_cuda(const Tensor& x, const Tensor& w, const ConvEpilogue& epilogue,
                 const Conv2dOptions& options, Tensor& y) {
  const conv::ConvShape s = conv::make_shape(x.shape(), w.shape(), y.shape(), options);
  if (kernels::depthwise::applies(s)) return kernels::depthwise::forward(s, x, w, epilogue, y);
  if (library_wanted() &&
      library::conv2d(library_shape(s), x.dtype(), x.raw_data(), w.raw_data(), y.raw_data()))
    return add_epilogue(epilogue, y);
  kernels::implicit_gemm::forward(s, x, w, epilogue, y);
}

void conv2d_input_grad_cuda(const Tensor& g, const Tensor& w, const Conv2dOptions& options,
                            Tensor& gx) {
  const conv::ConvShape s = conv::make_shape(gx.shape(), w.shape(), g.shape(), options);
  if (kernels::depthwise::applies(s)) return kernels::depthwise::input_grad(s, g, w, gx);
  if (library_wanted() && library::conv2d_input_grad(library_shape(s), g.dtype(), g.raw_data(),
                                                     w.raw_data(), gx.raw_data()))
    return;
  kernels::implicit_gemm::input_grad(s, g, w, gx);
}

void conv2d_weight_grad_cuda(const Tensor& g, const Tensor& x, const Conv2dOptions& options,
                             Tensor& gw) {
  const conv::ConvShape s = conv::make_shape(x.shape(), gw.shape(), g.shape(), options);
  if (kernels::depthwise::applies(s)) return kernels::depthwise::weight_grad(s, g, x, gw);
  if (library_wanted() && library::conv2d_weight_grad(library_shape(s), g.dtype(), g.raw_data(),
                                                      x.raw_data(), gw.raw_data()))
    return;
  kernels::implicit_gemm::weight_grad(s, g, x, gw);
}

TESSERA_KERNEL(conv2d, cuda, conv2d_cuda);
TESSERA_KERNEL(conv2d_input_grad, cuda, conv2d_input_grad_cuda);
TESSERA_KERNEL(conv2d_weight_grad, cuda, conv2d_weight_grad_cuda);

}  // namespace
}  // namespace tessera

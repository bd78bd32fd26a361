// Chooses the CUDA kernel of a convolution.
#include "ops/conv/conv2d.h"

#include "ops/conv/conv2d_cuda.h"

namespace tessera {
namespace {

namespace kernels = conv::cuda;

void conv2d_cuda(const Tensor& x, const Tensor& w, const ConvEpilogue& epilogue,
                 const Conv2dOptions& options, Tensor& y) {
  const conv::ConvShape s = conv::make_shape(x.shape(), w.shape(), y.shape(), options);
  if (kernels::depthwise::applies(s)) return kernels::depthwise::forward(s, x, w, epilogue, y);
  kernels::implicit_gemm::forward(s, x, w, epilogue, y);
}

void conv2d_input_grad_cuda(const Tensor& g, const Tensor& w, const Conv2dOptions& options,
                            Tensor& gx) {
  const conv::ConvShape s = conv::make_shape(gx.shape(), w.shape(), g.shape(), options);
  if (kernels::depthwise::applies(s)) return kernels::depthwise::input_grad(s, g, w, gx);
  kernels::implicit_gemm::input_grad(s, g, w, gx);
}

void conv2d_weight_grad_cuda(const Tensor& g, const Tensor& x, const Conv2dOptions& options,
                             Tensor& gw) {
  const conv::ConvShape s = conv::make_shape(x.shape(), gw.shape(), g.shape(), options);
  if (kernels::depthwise::applies(s)) return kernels::depthwise::weight_grad(s, g, x, gw);
  kernels::implicit_gemm::weight_grad(s, g, x, gw);
}

TESSERA_KERNEL(conv2d, cuda, conv2d_cuda);
TESSERA_KERNEL(conv2d_input_grad, cuda, conv2d_input_grad_cuda);
TESSERA_KERNEL(conv2d_weight_grad, cuda, conv2d_weight_grad_cuda);

}  // namespace
}  // namespace tessera

#include "nn/layers/conv.h"

#include <algorithm>
#include <cmath>

#include "autograd/node.h"
#include "nn/init.h"
#include "nn/mac_counter.h"

namespace tessera::nn {
namespace {

void check_groups(const char* what, int64_t in, int64_t out, int64_t groups) {
  TESSERA_CHECK(ValueError, groups > 0 && in % groups == 0 && out % groups == 0, what,
                ": groups=", groups, " must divide ", in, " input and ", out, " output channels");
}

void init_uniform(Tensor& weight, Tensor& bias) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(init::fans(weight).in));
  init::uniform_(weight.detach(), -bound, bound);
  if (bias.defined()) init::uniform_(bias.detach(), -bound, bound);
}

}  // namespace

Conv2d::Conv2d(int64_t in, int64_t out, Size2 kernel, Options o) : options(o) {
  check_groups("Conv2d", in, out, o.groups);
  weight = add_parameter("weight", empty({out, kernel.h, kernel.w, in / o.groups}), Layout::filter);
  if (o.bias) bias = add_parameter("bias", empty({out}));
  init_uniform(weight, bias);
}

Tensor Conv2d::forward(const Tensor& x) {
  const Conv2dOptions geometry{.stride = options.stride,
                               .padding = options.padding,
                               .dilation = options.dilation,
                               .groups = options.groups};
  const bool fuse = options.activation != Activation::none && !is_recorded({x, weight, bias});
  const Tensor y =
      fuse ? conv2d_fused(x, weight, {.bias = bias, .activation = options.activation}, geometry)
           : activate(conv2d(x, weight, bias, geometry), options.activation);
  MacCounter::add(y.numel() / std::max<int64_t>(y.shape()[3], 1) * weight.numel());
  return y;
}

ConvTranspose2d::ConvTranspose2d(int64_t in, int64_t out, Size2 kernel, Options o) : options(o) {
  check_groups("ConvTranspose2d", in, out, o.groups);
  weight = add_parameter("weight", empty({in, kernel.h, kernel.w, out / o.groups}), Layout::filter);
  if (o.bias) bias = add_parameter("bias", empty({out}));
  init_uniform(weight, bias);
}

Tensor ConvTranspose2d::forward(const Tensor& x) {
  MacCounter::add(x.numel() / std::max<int64_t>(x.shape()[3], 1) * weight.numel());
  return conv_transpose2d(x, weight, bias,
                          {.stride = options.stride,
                           .padding = options.padding,
                           .output_padding = options.output_padding,
                           .dilation = options.dilation,
                           .groups = options.groups});
}

}  // namespace tessera::nn

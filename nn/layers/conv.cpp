#include "nn/layers/conv.h"

#include "autograd/node.h"
#include "nn/init.h"
#include "nn/mac_counter.h"

namespace tessera::nn {
namespace {

void check_groups(const char* what, int64_t in, int64_t out, int64_t groups) {
  TESSERA_CHECK(ValueError, groups > 0 && in % groups == 0 && out % groups == 0, what,
                ": groups=", groups, " must divide ", in, " input and ", out, " output channels");
}

void draw(Tensor& weight, Tensor& bias) {
  const int64_t fan_in = init::fans(weight).in;
  init::fan_in_uniform_(weight.detach(), fan_in);
  if (bias.defined()) init::fan_in_uniform_(bias.detach(), fan_in);
}

}  // namespace

Conv2d::Conv2d(int64_t in, int64_t out, Size2 kernel, Options o) : options(o) {
  check_groups("Conv2d", in, out, o.groups);
  weight = add_parameter("weight", init::blank({out, kernel.h, kernel.w, in / o.groups}),
                         Layout::filter);
  if (o.bias) bias = add_parameter("bias", init::blank({out}));
  draw(weight, bias);
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
  MacCounter::add(y.shape()[1] * y.shape()[2] * weight.numel());
  return y;
}

ConvTranspose2d::ConvTranspose2d(int64_t in, int64_t out, Size2 kernel, Options o) : options(o) {
  check_groups("ConvTranspose2d", in, out, o.groups);
  weight = add_parameter("weight", init::blank({in, kernel.h, kernel.w, out / o.groups}),
                         Layout::filter);
  if (o.bias) bias = add_parameter("bias", init::blank({out}));
  draw(weight, bias);
}

Tensor ConvTranspose2d::forward(const Tensor& x) {
  MacCounter::add(x.shape()[1] * x.shape()[2] * weight.numel());
  return conv_transpose2d(x, weight, bias,
                          {.stride = options.stride,
                           .padding = options.padding,
                           .output_padding = options.output_padding,
                           .dilation = options.dilation,
                           .groups = options.groups});
}

}  // namespace tessera::nn

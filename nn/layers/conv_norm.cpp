#include "nn/layers/conv_norm.h"

#include "autograd/node.h"
#include "nn/mac_counter.h"
#include "ops/index/view.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/power.h"

namespace tessera::nn {

ConvNorm::ConvNorm(std::shared_ptr<Conv2d> conv, std::shared_ptr<BatchNorm> norm)
    : conv_(std::move(conv)), norm_(std::move(norm)) {
  TESSERA_CHECK(ValueError, conv_->options.activation == Activation::none,
                "ConvNorm: the activation comes after the norm, not with the convolution");
}

bool ConvNorm::fusable(const Tensor& x, const Tensor& residual) const {
  return !norm_->training() &&
         !is_recorded({x, residual, conv_->weight, conv_->bias, norm_->weight, norm_->bias});
}

const ConvNorm::Folded& ConvNorm::fold() {
  const Tensors sources{conv_->weight, conv_->bias,         norm_->weight,
                        norm_->bias,   norm_->running_mean, norm_->running_var};
  const auto same = [&](size_t i) {
    const Tensor &now = sources[i], &then = folded_->sources[i];
    if (!now.defined()) return true;
    return now.shares_storage(then) && now.version() == folded_->versions[i];
  };
  bool current = folded_ != nullptr;
  for (size_t i = 0; current && i < sources.size(); ++i) current = same(i);
  if (current) return *folded_;

  NoGradGuard no_grad;
  auto folded = std::make_unique<Folded>();
  for (const Tensor& t : sources) {
    folded->sources.push_back(t.defined() ? t.detach() : t);
    folded->versions.push_back(t.defined() ? t.version() : 0);
  }
  Tensor scale = rsqrt(norm_->running_var + norm_->options.eps);
  if (norm_->weight.defined()) scale = scale * norm_->weight;
  const Tensor mean =
      conv_->bias.defined() ? norm_->running_mean - conv_->bias : norm_->running_mean;
  folded->bias = -(mean * scale);
  if (norm_->bias.defined()) folded->bias = folded->bias + norm_->bias;
  folded->weight = conv_->weight * reshape(scale, {scale.numel(), 1, 1, 1});
  folded_ = std::move(folded);
  return *folded_;
}

Tensor ConvNorm::forward(const Tensor& x, Activation activation, const Tensor& residual) {
  if (!fusable(x, residual)) {
    folded_.reset();
    return norm_->forward(conv_->forward(x), {residual, activation});
  }
  const Folded& f = fold();
  const Tensor y = conv2d_fused(x, f.weight, {f.bias, residual, activation},
                                {.stride = conv_->options.stride,
                                 .padding = conv_->options.padding,
                                 .dilation = conv_->options.dilation,
                                 .groups = conv_->options.groups});
  MacCounter::add(y.shape()[1] * y.shape()[2] * f.weight.numel());
  return y;
}

}  // namespace tessera::nn

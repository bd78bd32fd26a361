#pragma once

#include <optional>
#include <string_view>

#include "nn/layers/conv_norm.h"
#include "ops/pool/max_pool.h"

namespace tessera::models {

// What GoogLeNet and Inception v3 are made of, as torchvision has it.

/// Convolution without bias, batch norm (eps 1e-3), ReLU. Entries conv.weight and bn.*.
class ConvBlock final : public nn::Module {
 public:
  ConvBlock(int64_t in, int64_t out, Size2 kernel, Size2 stride = 1, Size2 padding = 0);
  Tensor forward(const Tensor& x) override { return step_->forward(x, Activation::relu); }

 private:
  std::optional<nn::ConvNorm> step_;
};

/// max_pool2d as a module.
nn::ModulePtr max_pool(const MaxPool2dOptions& options);

/// Images (N, H, W, 3) normalised by ImageNet's mean and standard deviation, mapped to the
/// 2 rgb - 1 that the published weights of both networks expect. Differentiable, any order.
Tensor imagenet_to_symmetric(const Tensor& x);

/// Throws ShapeError, naming `network`, unless x is (N, H, W, 3) with H, W >= `smallest`.
void check_images(const Tensor& x, std::string_view network, int64_t smallest);

/// Draws the weights of all convolutions and linear layers below `network` from a normal
/// distribution cut at +-2, and the biases of the linear layers as these do by themselves.
void init_trunc_normal(nn::Module& network, double stddev);

}  // namespace tessera::models

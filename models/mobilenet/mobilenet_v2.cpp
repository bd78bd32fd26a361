#include "models/mobilenet/mobilenet_v2.h"

#include <algorithm>
#include <optional>

#include "nn/init.h"
#include "nn/layers/conv_norm.h"
#include "nn/layers/dropout.h"
#include "nn/layers/linear.h"
#include "ops/index/view.h"
#include "ops/pool/adaptive_pool.h"

namespace tessera::models {
namespace {

using nn::BatchNorm;
using nn::Conv2d;

// A convolution (entry 0) that keeps or, by its stride, divides the size, its norm (1) and ReLU6.
class ConvBlock final : public nn::Module {
 public:
  ConvBlock(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t groups) {
    const auto conv = make_module<Conv2d>(
        "0", in, out, kernel,
        Conv2d::Options{
            .stride = stride, .padding = (kernel - 1) / 2, .groups = groups, .bias = false});
    layers_.emplace(conv, make_module<BatchNorm>("1", out));
  }
  Tensor forward(const Tensor& x) override { return layers_->forward(x, Activation::relu6); }

 private:
  std::optional<nn::ConvNorm> layers_;
};

class InvertedResidual final : public nn::Module {
 public:
  InvertedResidual(int64_t in, int64_t out, int64_t stride, int64_t expand)
      : residual_(stride == 1 && in == out) {
    const int64_t hidden = in * expand;
    const auto list = make_module<nn::Sequential>("conv");
    const auto add = [&](auto module) {
      list->push_back(module);
      return module;
    };
    if (expand != 1) inner_.push_back(add(std::make_shared<ConvBlock>(in, hidden, 1, 1, 1)));
    inner_.push_back(add(std::make_shared<ConvBlock>(hidden, hidden, 3, stride, hidden)));
    const auto conv = add(std::make_shared<Conv2d>(hidden, out, 1, Conv2d::Options{.bias = false}));
    project_.emplace(conv, add(std::make_shared<BatchNorm>(out)));
  }
  Tensor forward(const Tensor& x) override {
    Tensor y = x;
    for (const auto& block : inner_) y = block->forward(y);
    return project_->forward(y, Activation::none, residual_ ? x : Tensor());
  }

 private:
  bool residual_;
  std::vector<std::shared_ptr<ConvBlock>> inner_;
  std::optional<nn::ConvNorm> project_;
};

// The multiple of 8 next to `channels`, at least 8 and at least nine tenths of it.
int64_t round_channels(double channels) {
  const int64_t rounded = std::max<int64_t>(8, static_cast<int64_t>(channels + 4) / 8 * 8);
  return static_cast<double>(rounded) < 0.9 * channels ? rounded + 8 : rounded;
}

void check(const MobileNetV2Config& config) {
  TESSERA_CHECK(ValueError, config.width_mult > 0, "MobileNetV2: width_mult must be positive, got ",
                config.width_mult);
  TESSERA_CHECK(ValueError, config.num_classes > 0,
                "MobileNetV2: num_classes must be positive, got ", config.num_classes);
  for (const MobileNetV2Config::Stage& s : config.stages)
    TESSERA_CHECK(
        ValueError,
        s.expand > 0 && s.channels > 0 && s.blocks > 0 && (s.stride == 1 || s.stride == 2),
        "MobileNetV2: a stage needs positive numbers and stride 1 or 2, got expand ", s.expand,
        ", channels ", s.channels, ", blocks ", s.blocks, ", stride ", s.stride);
}

void initialize(nn::Module& network) {
  for (const auto& [name, module] : network.named_modules()) {
    if (auto* conv = dynamic_cast<Conv2d*>(module)) {
      nn::init::kaiming_normal_(conv->weight.detach(), nn::init::Fan::out);
    } else if (auto* linear = dynamic_cast<nn::Linear*>(module)) {
      nn::init::normal_(linear->weight.detach(), 0, 0.01);
      nn::init::constant_(linear->bias.detach(), 0);
    }
  }
}

}  // namespace

MobileNetV2::MobileNetV2(const MobileNetV2Config& config) {
  check(config);
  build(config);
  initialize(*this);
}

void MobileNetV2::build(const MobileNetV2Config& config) {
  const nn::init::Skip drawn_afterwards;
  features_ = make_module<nn::Sequential>("features");
  const auto add_block = [&](int64_t out, int64_t kernel, int64_t stride) {
    features_->push_back(std::make_shared<ConvBlock>(channels_, out, kernel, stride, 1));
    channels_ = out;
  };
  add_block(round_channels(32 * config.width_mult), 3, 2);
  for (const MobileNetV2Config::Stage& s : config.stages) {
    const int64_t out = round_channels(static_cast<double>(s.channels) * config.width_mult);
    for (int64_t i = 0; i < s.blocks; ++i) {
      features_->push_back(
          std::make_shared<InvertedResidual>(channels_, out, i == 0 ? s.stride : 1, s.expand));
      channels_ = out;
    }
  }
  add_block(round_channels(1280 * std::max(1.0, config.width_mult)), 1, 1);
  classifier_ = make_module<nn::Sequential>("classifier");
  classifier_->push_back(std::make_shared<nn::Dropout>(config.dropout));
  classifier_->push_back(std::make_shared<nn::Linear>(channels_, config.num_classes));
}

Tensor MobileNetV2::forward(const Tensor& x) {
  return classifier_->forward(flatten(global_avg_pool2d(features(x)), 1));
}

}  // namespace tessera::models

#include "models/resnet/resnet.h"

#include "nn/init.h"
#include "ops/index/view.h"
#include "ops/pool/adaptive_pool.h"
#include "ops/pool/max_pool.h"

namespace tessera::models {
namespace {

using nn::BatchNorm;
using nn::Conv2d;

// The two or three convolutions of a block with their norms, and the shortcut.
class Block : public nn::Module {
 public:
  Tensor forward(const Tensor& x) override {
    Tensor y = x;
    for (size_t i = 0; i + 1 < steps_.size(); ++i) y = steps_[i].forward(y, Activation::relu);
    return steps_.back().forward(y, Activation::relu,
                                 downsample_ ? downsample_->forward(x, Activation::none) : x);
  }

 protected:
  // torch's order of entries: conv1, bn1, conv2, bn2, ..., downsample.
  void add(int64_t in, int64_t out, Size2 kernel, const Conv2d::Options& options) {
    const std::string number = std::to_string(steps_.size() + 1);
    const auto conv = make_module<Conv2d>("conv" + number, in, out, kernel, options);
    steps_.emplace_back(conv, make_module<BatchNorm>("bn" + number, out));
  }
  void add_downsample(int64_t in, int64_t out, int64_t stride) {
    if (stride == 1 && in == out) return;
    const auto shortcut = make_module<nn::Sequential>("downsample");
    const auto conv = shortcut->emplace<Conv2d>("0", in, out, 1,
                                                Conv2d::Options{.stride = stride, .bias = false});
    downsample_.emplace(conv, shortcut->emplace<BatchNorm>("1", out));
  }

 private:
  std::vector<nn::ConvNorm> steps_;
  std::optional<nn::ConvNorm> downsample_;
};

class BasicBlock final : public Block {
 public:
  BasicBlock(int64_t in, int64_t out, int64_t stride) {
    add(in, out, 3, {.stride = stride, .padding = 1, .bias = false});
    add(out, out, 3, {.padding = 1, .bias = false});
    add_downsample(in, out, stride);
  }
};

class Bottleneck final : public Block {
 public:
  Bottleneck(int64_t in, int64_t width, int64_t out, int64_t stride, int64_t groups) {
    add(in, width, 1, {.bias = false});
    add(width, width, 3, {.stride = stride, .padding = 1, .groups = groups, .bias = false});
    add(width, out, 1, {.bias = false});
    add_downsample(in, out, stride);
  }
};

}  // namespace

ResNetConfig resnet_config(int depth) {
  switch (depth) {
    case 18:
      return {.bottleneck = false, .depths = {2, 2, 2, 2}};
    case 34:
      return {.bottleneck = false, .depths = {3, 4, 6, 3}};
    case 50:
      return {.depths = {3, 4, 6, 3}};
    case 101:
      return {.depths = {3, 4, 23, 3}};
    case 152:
      return {.depths = {3, 8, 36, 3}};
    default:
      throw ValueError(cat("ResNet depth must be 18, 34, 50, 101 or 152, got ", depth));
  }
}

ResNet::ResNet(const ResNetConfig& config) {
  TESSERA_CHECK(ValueError, config.last_stride == 1 || config.last_stride == 2,
                "ResNet: last_stride must be 1 or 2, got ", config.last_stride);
  TESSERA_CHECK(ValueError, config.num_classes >= 0, "ResNet: num_classes must not be negative");
  TESSERA_CHECK(ValueError,
                config.bottleneck || (config.groups == 1 && config.width_per_group == 64),
                "ResNet: only bottleneck blocks have groups and a width, got groups ",
                config.groups, " and width_per_group ", config.width_per_group);
  {
    const nn::init::Skip drawn_below;
    const auto conv1 = make_module<Conv2d>(
        "conv1", 3, 64, 7, Conv2d::Options{.stride = 2, .padding = 3, .bias = false});
    stem_.emplace(conv1, make_module<BatchNorm>("bn1", 64));
    for (int stage = 0; stage < 4; ++stage)
      layers_[static_cast<size_t>(stage)] =
          add_module("layer" + std::to_string(stage + 1), make_stage(config, stage));
  }
  if (config.num_classes > 0) fc_ = make_module<nn::Linear>("fc", channels_, config.num_classes);
  for (const auto& [name, module] : named_modules())
    if (auto* conv = dynamic_cast<Conv2d*>(module))
      nn::init::kaiming_normal_(conv->weight.detach(), nn::init::Fan::out);
}

std::shared_ptr<nn::Sequential> ResNet::make_stage(const ResNetConfig& config, int stage) {
  const int64_t planes = int64_t{64} << stage;
  const int64_t out = config.bottleneck ? planes * 4 : planes;
  const int64_t width = planes * config.width_per_group / 64 * config.groups;
  auto layer = std::make_shared<nn::Sequential>();
  for (int64_t i = 0; i < config.depths[static_cast<size_t>(stage)]; ++i) {
    const int64_t stride = i > 0 || stage == 0 ? 1 : stage == 3 ? config.last_stride : 2;
    if (config.bottleneck)
      layer->push_back(std::make_shared<Bottleneck>(channels_, width, out, stride, config.groups));
    else
      layer->push_back(std::make_shared<BasicBlock>(channels_, out, stride));
    channels_ = out;
  }
  return layer;
}

Tensor ResNet::features(const Tensor& x) {
  TESSERA_CHECK(ShapeError, x.rank() == 4 && x.shape()[3] == 3,
                "ResNet: expected images (N, H, W, 3), got ", x.shape());
  Tensor y = stem_->forward(x, Activation::relu);
  y = max_pool2d(y, {.kernel = 3, .stride = 2, .padding = 1});
  for (const auto& layer : layers_) y = layer->forward(y);
  return y;
}

Tensor ResNet::forward(const Tensor& x) {
  const Tensor pooled = flatten(adaptive_avg_pool2d(features(x), 1), 1);  // (N, C)
  return fc_ ? fc_->forward(pooled) : pooled;
}

}  // namespace tessera::models

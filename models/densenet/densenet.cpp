#include "models/densenet/densenet.h"

#include <algorithm>
#include <optional>

#include "nn/init.h"
#include "nn/layers/container.h"
#include "nn/layers/conv_norm.h"
#include "nn/layers/dropout.h"
#include "nn/layers/linear.h"
#include "ops/index/concat.h"
#include "ops/index/view.h"
#include "ops/pool/adaptive_pool.h"
#include "ops/pool/avg_pool.h"
#include "ops/pool/max_pool.h"

namespace tessera::models {
namespace {

using nn::BatchNorm;
using nn::Conv2d;

// Norm, ReLU, 1x1 convolution, norm, ReLU, 3x3 convolution. The first norm cannot be folded into
// the convolution behind it because the ReLU stands between; the second belongs to the one before.
class DenseLayer final : public nn::Module {
 public:
  DenseLayer(int64_t in, const DenseNetConfig& config) {
    const int64_t width = config.bottleneck * config.growth;
    norm1_ = make_module<BatchNorm>("norm1", in);
    const auto conv1 = make_module<Conv2d>("conv1", in, width, 1, Conv2d::Options{.bias = false});
    reduce_.emplace(conv1, make_module<BatchNorm>("norm2", width));
    conv2_ = make_module<Conv2d>("conv2", width, config.growth, 3,
                                 Conv2d::Options{.padding = 1, .bias = false});
    dropout_ = make_module<nn::Dropout>("dropout", config.dropout);
  }
  Tensor forward(const Tensor& x) override {
    const Tensor y =
        reduce_->forward(norm1_->forward(x, {.activation = Activation::relu}), Activation::relu);
    return dropout_->forward(conv2_->forward(y));
  }

 private:
  std::shared_ptr<BatchNorm> norm1_;
  std::optional<nn::ConvNorm> reduce_;
  std::shared_ptr<Conv2d> conv2_;
  std::shared_ptr<nn::Dropout> dropout_;
};

// Every layer reads what it was given and what all layers before it added.
class DenseBlock final : public nn::Module {
 public:
  DenseBlock(int64_t in, int64_t depth, const DenseNetConfig& config) {
    for (int64_t i = 0; i < depth; ++i)
      make_module<DenseLayer>("denselayer" + std::to_string(i + 1), in + i * config.growth, config);
  }
  Tensor forward(const Tensor& x) override {
    Tensor y = x;
    for (const auto& [name, layer] : children()) y = concat({y, layer->forward(y)}, 3);
    return y;
  }
};

class Transition final : public nn::Module {
 public:
  explicit Transition(int64_t in)
      : norm_(make_module<BatchNorm>("norm", in)),
        conv_(make_module<Conv2d>("conv", in, in / 2, 1, Conv2d::Options{.bias = false})) {}
  Tensor forward(const Tensor& x) override {
    return avg_pool2d(conv_->forward(norm_->forward(x, {.activation = Activation::relu})),
                      {.kernel = 2});
  }

 private:
  std::shared_ptr<BatchNorm> norm_;
  std::shared_ptr<Conv2d> conv_;
};

// Everything but the classifier.
class Features final : public nn::Module {
 public:
  explicit Features(const DenseNetConfig& config) : channels_(config.stem) {
    const auto conv0 = make_module<Conv2d>(
        "conv0", 3, channels_, 7, Conv2d::Options{.stride = 2, .padding = 3, .bias = false});
    stem_.emplace(conv0, make_module<BatchNorm>("norm0", channels_));
    for (size_t i = 0; i < config.depths.size(); ++i) {
      const std::string number = std::to_string(i + 1);
      blocks_.push_back(
          make_module<DenseBlock>("denseblock" + number, channels_, config.depths[i], config));
      channels_ += config.depths[i] * config.growth;
      if (i + 1 == config.depths.size()) break;
      blocks_.push_back(make_module<Transition>("transition" + number, channels_));
      channels_ /= 2;
    }
    norm5_ = make_module<BatchNorm>("norm5", channels_);
  }
  Tensor forward(const Tensor& x) override {
    Tensor y =
        max_pool2d(stem_->forward(x, Activation::relu), {.kernel = 3, .stride = 2, .padding = 1});
    for (const auto& block : blocks_) y = block->forward(y);
    return norm5_->forward(y, {.activation = Activation::relu});
  }
  int64_t channels() const { return channels_; }

 private:
  int64_t channels_;  // of what has been built so far, in the end of the result
  std::optional<nn::ConvNorm> stem_;
  std::vector<nn::ModulePtr> blocks_;
  std::shared_ptr<BatchNorm> norm5_;
};

void check(const DenseNetConfig& c) {
  TESSERA_CHECK(ValueError,
                c.stem > 0 && c.growth > 0 && c.bottleneck > 0 &&
                    *std::min_element(c.depths.begin(), c.depths.end()) > 0,
                "DenseNet: depths, stem, growth and bottleneck must be positive, got stem ", c.stem,
                ", growth ", c.growth, ", bottleneck ", c.bottleneck, ", depths ", c.depths[0], " ",
                c.depths[1], " ", c.depths[2], " ", c.depths[3]);
  TESSERA_CHECK(ValueError, c.num_classes >= 0, "DenseNet: num_classes must not be negative, got ",
                c.num_classes);
}

}  // namespace

DenseNetConfig densenet_config(int depth) {
  switch (depth) {
    case 121:
      return {};
    case 161:
      return {.depths = {6, 12, 36, 24}, .stem = 96, .growth = 48};
    case 169:
      return {.depths = {6, 12, 32, 32}};
    case 201:
      return {.depths = {6, 12, 48, 32}};
    default:
      throw ValueError(cat("DenseNet depth must be 121, 161, 169 or 201, got ", depth));
  }
}

DenseNet::DenseNet(const DenseNetConfig& config) {
  check(config);
  {
    const nn::init::Skip drawn_below;
    const auto features = make_module<Features>("features", config);
    features_ = features;
    channels_ = features->channels();
  }
  if (config.num_classes > 0) {
    const auto classifier = make_module<nn::Linear>("classifier", channels_, config.num_classes);
    nn::init::constant_(classifier->bias.detach(), 0);
    classifier_ = classifier;
  }
  for (const auto& [name, module] : named_modules())
    if (auto* conv = dynamic_cast<Conv2d*>(module))
      nn::init::kaiming_normal_(conv->weight.detach());
}

Tensor DenseNet::features(const Tensor& x) {
  TESSERA_CHECK(
      ShapeError, x.rank() == 4 && x.shape()[3] == 3 && x.shape()[1] >= 29 && x.shape()[2] >= 29,
      "DenseNet: expected images (N, H, W, 3) of at least 29 x 29 pixels, got ", x.shape());
  return features_->forward(x);
}

Tensor DenseNet::forward(const Tensor& x) {
  const Tensor pooled = flatten(global_avg_pool2d(features(x)), 1);  // (N, C)
  return classifier_ ? classifier_->forward(pooled) : pooled;
}

}  // namespace tessera::models

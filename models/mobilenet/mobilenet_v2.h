#pragma once

#include <vector>

#include "nn/layers/container.h"

namespace tessera::models {

/// MobileNetV2 (Sandler et al., arXiv 1801.04381) as torchvision builds it: inverted residual
/// blocks, which expand by a 1x1 convolution, filter depthwise and project back without an
/// activation; ReLU6 elsewhere. Parameter names and initial values are torchvision's.
struct MobileNetV2Config {
  struct Stage {
    int64_t expand;    ///< the block's inner channels per input channel
    int64_t channels;  ///< of the output, before width_mult
    int64_t blocks;
    int64_t stride;  ///< of the first block, 1 or 2
  };
  /// Multiplies all channels but the last layer's, which it only raises; results are rounded to
  /// multiples of 8 and never down by more than a tenth.
  double width_mult = 1;
  int64_t num_classes = 1000;
  double dropout = 0.2;  ///< before the linear layer
  std::vector<Stage> stages{{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                            {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
};

class MobileNetV2 final : public nn::Module {
 public:
  /// Throws ValueError unless width_mult, num_classes and the numbers of every stage are positive,
  /// strides 1 or 2, and dropout in [0, 1].
  explicit MobileNetV2(const MobileNetV2Config& config);

  /// (N, H, W, 3) to (N, H/32, W/32, feature_channels()), rounded up.
  Tensor features(const Tensor& x) { return features_->forward(x); }
  /// (N, H, W, 3) to logits (N, num_classes).
  Tensor forward(const Tensor& x) override;
  int64_t feature_channels() const { return channels_; }

 private:
  void build(const MobileNetV2Config& config);

  std::shared_ptr<nn::Sequential> features_, classifier_;
  int64_t channels_ = 3;  // of what has been built so far, in the end of the features
};

}  // namespace tessera::models

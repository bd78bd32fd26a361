#pragma once

#include <array>
#include <memory>

#include "nn/module.h"

namespace tessera::models {

/// Densely connected networks with bottlenecks and compression (Huang et al., arXiv 1608.06993,
/// DenseNet-BC) as torchvision builds them; parameter names are torchvision's. Its oldest weight
/// files say "norm.1" and "conv.2" where the names are norm1 and conv2; load_weights() knows.
struct DenseNetConfig {
  std::array<int64_t, 4> depths{6, 12, 24, 16};  ///< layers of the blocks
  int64_t stem = 64;                             ///< channels of the first convolution
  int64_t growth = 32;                           ///< channels that each layer adds
  int64_t bottleneck = 4;                        ///< its 1x1 convolution has as many times growth
  double dropout = 0;                            ///< of what each layer adds
  int64_t num_classes = 1000;  ///< 0: no classifier, forward() returns pooled features
};

/// DenseNet-121, 161, 169, 201. Throws ValueError for another depth.
DenseNetConfig densenet_config(int depth);

class DenseNet final : public nn::Module {
 public:
  /// Throws ValueError for sizes < 1, num_classes < 0 or a dropout outside [0, 1].
  explicit DenseNet(const DenseNetConfig& config);

  /// (N, H, W, 3) with H, W >= 29 to the last feature map (N, H/32, W/32, feature_channels()),
  /// behind its batch norm and ReLU. Sizes are rounded up twice in the stem, then down.
  /// Throws ShapeError for other images.
  Tensor features(const Tensor& x);
  /// To logits (N, num_classes), or to pooled features (N, feature_channels()).
  Tensor forward(const Tensor& x) override;
  int64_t feature_channels() const { return channels_; }

 private:
  int64_t channels_;
  std::shared_ptr<nn::Module> features_, classifier_;
};

}  // namespace tessera::models

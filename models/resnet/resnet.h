#pragma once

#include <array>
#include <optional>
#include <vector>

#include "nn/layers/container.h"
#include "nn/layers/conv_norm.h"
#include "nn/layers/linear.h"

namespace tessera::models {

/// Residual networks (He et al., arXiv 1512.03385) as torchvision builds them: the 3x3 convolution
/// of a bottleneck carries the stride. Parameter names are torchvision's.
struct ResNetConfig {
  bool bottleneck = true;  ///< 1x1 - 3x3 - 1x1 blocks (expansion 4), otherwise 3x3 - 3x3
  std::array<int64_t, 4> depths{3, 4, 6, 3};
  int64_t groups = 1;            ///< of a bottleneck's 3x3 convolution (ResNeXt)
  int64_t width_per_group = 64;  ///< channels per group at the first stage (wide ResNet: 128)
  int64_t num_classes = 1000;    ///< 0: no fc, forward() returns pooled features
  int64_t last_stride = 2;       ///< of the last stage; 1 keeps resolution, as re-ID uses it
};

/// ResNet-18, 34, 50, 101, 152. Throws ValueError for another depth.
ResNetConfig resnet_config(int depth);

class ResNet final : public nn::Module {
 public:
  explicit ResNet(const ResNetConfig& config);

  /// (N, H, W, 3) to the last feature map (N, H/32, W/32, feature_channels()); H/16 with
  /// last_stride 1.
  Tensor features(const Tensor& x);
  /// (N, H, W, 3) to logits (N, num_classes), or to pooled features (N, feature_channels()).
  Tensor forward(const Tensor& x) override;
  int64_t feature_channels() const { return channels_; }

 private:
  std::shared_ptr<nn::Sequential> make_stage(const ResNetConfig& config, int stage);

  std::optional<nn::ConvNorm> stem_;
  std::array<std::shared_ptr<nn::Sequential>, 4> layers_;
  std::shared_ptr<nn::Linear> fc_;
  int64_t channels_ = 64;  // of what has been built so far, in the end of the features
};

}  // namespace tessera::models

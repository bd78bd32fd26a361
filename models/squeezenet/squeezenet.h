#pragma once

#include <array>
#include <string_view>

#include "nn/layers/container.h"

namespace tessera::models {

/// SqueezeNet (Iandola et al., arXiv 1602.07360) as torchvision builds it: an unpadded stride-2
/// convolution, then three groups of fire modules, each group begun by a max pool that rounds up.
/// Fire module i squeezes to s = 16 (i / 2 + 1) channels and expands to 4 s + 4 s. Logits are the
/// means of a ReLU, never negative. Parameter names and initial values are torchvision's.
struct SqueezeNetConfig {
  int64_t stem_channels = 96;
  int64_t stem_kernel = 7;
  std::array<int64_t, 3> fires{3, 4, 1};  ///< modules of each group
  int64_t num_classes = 1000;
  double dropout = 0.5;  ///< before the last convolution
};

/// Version "1_0" (the paper's) or "1_1" (2.4 times fewer operations). Throws ValueError for
/// another.
SqueezeNetConfig squeezenet_config(std::string_view version);

class SqueezeNet final : public nn::Module {
 public:
  /// Throws ValueError for a group without modules, num_classes < 1 or a dropout outside [0, 1].
  explicit SqueezeNet(const SqueezeNetConfig& config);

  /// (N, H, W, 3) to (N, h, w, 512), about H/16 by W/16. H, W >= 21 in version 1_0, 17 in
  /// 1_1: ShapeError for images in which a pool has no window.
  Tensor features(const Tensor& x) { return features_->forward(x); }
  /// (N, H, W, 3) to logits (N, num_classes).
  Tensor forward(const Tensor& x) override;

 private:
  void build(const SqueezeNetConfig& config);

  std::shared_ptr<nn::Sequential> features_, classifier_;
};

}  // namespace tessera::models

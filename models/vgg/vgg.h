#pragma once

#include <array>

#include "nn/layers/container.h"

namespace tessera::models {

/// VGG networks (Simonyan and Zisserman, arXiv 1409.1556) as torchvision builds them: five stages
/// of 3x3 convolutions, each ended by a 2x2 max pool, then three linear layers over a 7x7 map. The
/// map comes from adaptive average pooling, so that images need not be 224 x 224. Parameter names
/// and initial values are torchvision's.
struct VggConfig {
  /// Convolutions of the stages, whose channels are 64, 128, 256, 512 and 512.
  std::array<int64_t, 5> depths{2, 2, 3, 3, 3};
  bool batch_norm = false;  ///< after each convolution, which keeps its bias
  int64_t hidden = 4096;    ///< width of the two hidden linear layers
  int64_t num_classes = 1000;
  double dropout = 0.5;  ///< after each hidden layer
};

/// VGG-11, 13, 16, 19 (the paper's A, B, D, E). Throws ValueError for another depth.
VggConfig vgg_config(int depth);

class Vgg final : public nn::Module {
 public:
  /// Throws ValueError for a stage without convolutions, hidden or num_classes < 1, or a dropout
  /// outside [0, 1].
  explicit Vgg(const VggConfig& config);

  /// (N, H, W, 3) to (N, H/32, W/32, 512), rounded down. H and W must be at least 32 (ShapeError).
  Tensor features(const Tensor& x) { return features_->forward(x); }
  /// (N, H, W, 3) to logits (N, num_classes).
  Tensor forward(const Tensor& x) override;

 private:
  std::shared_ptr<nn::Module> features_;
  std::shared_ptr<nn::Sequential> classifier_;
};

}  // namespace tessera::models

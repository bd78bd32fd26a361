#pragma once

#include "nn/layers/container.h"

namespace tessera::models {

/// AlexNet as torchvision builds it: the single-column network of Krizhevsky, arXiv 1404.5997,
/// without the groups and the response normalisation of the 2012 original. Parameter names are
/// torchvision's; initial values are the layers' own.
struct AlexNetConfig {
  int64_t hidden = 4096;  ///< width of the two hidden linear layers
  int64_t num_classes = 1000;
  double dropout = 0.5;  ///< before each hidden layer
};

class AlexNet final : public nn::Module {
 public:
  /// Throws ValueError for hidden or num_classes < 1, or a dropout outside [0, 1].
  explicit AlexNet(const AlexNetConfig& config);

  /// (N, H, W, 3) to (N, h, w, 256), 6 x 6 for images of 224 x 224. H and W must be at least 63
  /// (ShapeError).
  Tensor features(const Tensor& x) { return features_->forward(x); }
  /// (N, H, W, 3) to logits (N, num_classes). Maps of other sizes are averaged to 6 x 6.
  Tensor forward(const Tensor& x) override;

 private:
  std::shared_ptr<nn::Sequential> features_, classifier_;
};

}  // namespace tessera::models

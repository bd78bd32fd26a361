#pragma once

#include <string>

#include "models/resnet/resnet.h"
#include "nn/layers/dropout.h"

namespace tessera::models {

/// The re-identification baseline: a backbone without its classifier, global average pooling and a
/// head. After Person_reID_baseline_pytorch (Zheng et al.).
struct ReidConfig {
  std::string backbone = "resnet50";  ///< resnet18, 34, 50, 101 or 152
  int64_t num_classes = 751;          ///< training identities
  int64_t bottleneck = 512;           ///< width of the head's linear layer; <= 0 removes it
  double dropout = 0.5;
  int64_t last_stride = 2;  ///< 1 keeps resolution in the last stage
};

struct ReidOutput {
  Tensor logits;   ///< (N, num_classes)
  Tensor feature;  ///< (N, bottleneck), after batch norm and, in training, dropout
};

/// linear - batch norm - dropout - classifier, no activation. Initial standard deviations: linear
/// sqrt(2 / bottleneck), norm weight 0.02 around 1, classifier 1e-4, so that the first loss is
/// ln(num_classes); biases 0. Names: add_block.0 (linear), add_block.1 (norm), classifier.0.
class ReidHead final : public nn::Module {
 public:
  explicit ReidHead(int64_t in, const ReidConfig& config);
  /// (N, in) pooled features.
  ReidOutput run(const Tensor& pooled);

 private:
  std::shared_ptr<nn::Linear> reduce_;
  std::shared_ptr<nn::BatchNorm> norm_;
  std::shared_ptr<nn::Dropout> dropout_;
  std::shared_ptr<nn::Linear> classifier_;
};

class ReidNet final : public nn::Module {
 public:
  explicit ReidNet(const ReidConfig& config);
  /// (N, H, W, 3) normalised images.
  ReidOutput run(const Tensor& images);
  /// The logits alone.
  Tensor forward(const Tensor& images) override { return run(images).logits; }
  /// Retrieval features in evaluation: image plus mirrored image through the network, rows scaled
  /// to unit length. (N, dim). Nothing is recorded. Throws Error in training mode, where batch norm
  /// would see, and change with, the images that happen to be together.
  Tensor embed(const Tensor& images);

  /// Head parameters train at the full rate, the backbone's at a fraction of it.
  nn::Module& backbone() { return *model_; }
  nn::Module& head() { return *classifier_; }
  const ReidConfig& config() const { return config_; }

 private:
  ReidConfig config_;
  std::shared_ptr<ResNet> model_;
  std::shared_ptr<ReidHead> classifier_;
};

}  // namespace tessera::models

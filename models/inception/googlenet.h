#pragma once

#include <memory>

#include "nn/layers/container.h"
#include "nn/layers/dropout.h"
#include "nn/layers/linear.h"

namespace tessera::models {

/// GoogLeNet (Szegedy et al., arXiv 1409.4842) as torchvision has it: with batch norm, and with a
/// 3x3 convolution where the paper has 5x5, because that is what the published weights hold.
/// Parameter names are torchvision's.
struct GoogLeNetConfig {
  int64_t num_classes = 1000;  ///< 0: no classifiers, forward() returns pooled features
  bool aux_logits = true;      ///< has the two auxiliary classifiers (6.4 M parameters)
  /// Input is normalised by ImageNet's statistics, but the weights (the published ones) expect
  /// 2 rgb - 1: convert.
  bool transform_input = false;
  double dropout = 0.2;
  double aux_dropout = 0.7;
};

struct GoogLeNetOutput {
  Tensor logits;      ///< (N, num_classes)
  Tensor aux1, aux2;  ///< the same of the classifiers behind blocks 4a and 4d
};

class GoogLeNet final : public nn::Module {
 public:
  /// Throws ValueError for num_classes < 0 or a dropout outside [0, 1].
  explicit GoogLeNet(const GoogLeNetConfig& config);

  /// (N, H, W, 3) with H, W >= 15 to the last feature map (N, h, w, 1024); 224 pixels give 7.
  /// Throws ShapeError for other images.
  Tensor features(const Tensor& x);
  /// The logits (N, num_classes), or pooled features (N, 1024). The auxiliary classifiers do not
  /// run.
  Tensor forward(const Tensor& x) override;
  /// All three classifiers. The usual training loss is that of the logits plus 0.3 times that of
  /// each of the others. Throws Error for a network without auxiliary classifiers.
  GoogLeNetOutput forward_with_aux(const Tensor& x);

 private:
  Tensor prepare(const Tensor& x) const;
  Tensor classify(const Tensor& features);
  void build();

  GoogLeNetConfig config_;
  nn::Sequential to_4a_, to_4d_, to_5b_;  // parts of the trunk; their modules are children of this
  std::shared_ptr<nn::Module> aux1_, aux2_;
  std::shared_ptr<nn::Dropout> dropout_;
  std::shared_ptr<nn::Linear> fc_;
};

}  // namespace tessera::models

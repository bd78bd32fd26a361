#pragma once

#include <memory>

#include "nn/layers/container.h"
#include "nn/layers/dropout.h"
#include "nn/layers/linear.h"

namespace tessera::models {

/// Inception v3 (Szegedy et al., arXiv 1512.00567) as torchvision has it: average pools count their
/// padding, batch norms have eps 1e-3. Parameter names are torchvision's.
struct InceptionV3Config {
  int64_t num_classes = 1000;  ///< 0: no classifiers, forward() returns pooled features
  bool aux_logits = true;      ///< has the auxiliary classifier (3.3 M parameters)
  /// Input is normalised by ImageNet's statistics, but the weights (the published ones) expect
  /// 2 rgb - 1: convert.
  bool transform_input = false;
  double dropout = 0.5;
};

struct InceptionV3Output {
  Tensor logits;  ///< (N, num_classes)
  Tensor aux;     ///< the same of the classifier behind block 6e
};

class InceptionV3 final : public nn::Module {
 public:
  /// Throws ValueError for num_classes < 0 or a dropout outside [0, 1].
  explicit InceptionV3(const InceptionV3Config& config);

  /// (N, H, W, 3) with H, W >= 75 to the last feature map (N, h, w, 2048); 299 pixels give 8.
  /// Throws ShapeError for other images.
  Tensor features(const Tensor& x);
  /// The logits (N, num_classes), or pooled features (N, 2048). The auxiliary classifier does not
  /// run.
  Tensor forward(const Tensor& x) override;
  /// Both classifiers, for H, W >= 299. The usual training loss is that of the logits plus 0.4
  /// times the other's. Throws Error for a network without the auxiliary classifier.
  InceptionV3Output forward_with_aux(const Tensor& x);

 private:
  Tensor prepare(const Tensor& x, int64_t smallest) const;
  Tensor classify(const Tensor& features);
  void build();

  InceptionV3Config config_;
  nn::Sequential to_6e_, to_7c_;  // parts of the trunk; their modules are children of this
  std::shared_ptr<nn::Module> aux_;
  std::shared_ptr<nn::Dropout> dropout_;
  std::shared_ptr<nn::Linear> fc_;
};

}  // namespace tessera::models

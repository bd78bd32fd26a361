#pragma once

#include "nn/module.h"
#include "tensor/generator.h"

namespace tessera::nn {

/// In training sets each element to 0 with probability p and scales the rest by 1 / (1 - p). Draws
/// from the calling thread's default generator.
class Dropout final : public Module {
 public:
  /// Throws ValueError unless 0 <= p <= 1.
  explicit Dropout(double p = 0.5);
  Tensor forward(const Tensor& x) override;
  double p;
};

/// Stochastic depth: in training drops whole samples of a residual branch. Huang et al.,
/// arXiv 1603.09382.
class DropPath final : public Module {
 public:
  explicit DropPath(double p);
  Tensor forward(const Tensor& x) override;
  double p;
};

}  // namespace tessera::nn

#pragma once

#include "ops/loss/reduction.h"

namespace tessera {

struct KlDivOptions {
  bool log_target = false;  // target holds log-probabilities
  Reduction reduction = Reduction::mean;
};
/// Pointwise Kullback-Leibler divergence t (log t - x) of log-probabilities x from probabilities t
/// >= 0 (0 log 0 = 0), or exp(t) (t - x) with log_target. One shape and floating dtype. The mean
/// divides by the number of elements; the divergence per sample is the sum over the number of
/// samples. Differentiable to any order in x, and in t where t > 0. Throws ShapeError, DTypeError.
Tensor kl_div(const Tensor& input, const Tensor& target, const KlDivOptions& options = {});

}  // namespace tessera

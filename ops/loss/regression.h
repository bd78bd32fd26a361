#pragma once

#include "ops/loss/reduction.h"
#include "ops/pointwise/pointwise_slots.h"

namespace tessera {

// Losses of the difference d = input - target. Both have one shape and one floating dtype; the
// result has their shape, or none with a reduction. Differentiable to any order in both (order 2 is
// zero at the kinks). Throw ShapeError, DTypeError, ValueError.

/// d^2.
Tensor mse_loss(const Tensor& input, const Tensor& target, Reduction reduction = Reduction::mean);
/// |d|.
Tensor l1_loss(const Tensor& input, const Tensor& target, Reduction reduction = Reduction::mean);

struct SmoothL1Options {
  double beta = 1.0;
  Reduction reduction = Reduction::mean;
};
/// d^2 / (2 beta) where |d| < beta, otherwise |d| - beta / 2; beta = 0 is l1. ValueError for beta <
/// 0. Source: Girshick, arXiv 1504.08083, equation 3 (beta = 1).
Tensor smooth_l1_loss(const Tensor& input, const Tensor& target,
                      const SmoothL1Options& options = {});

struct HuberOptions {
  double delta = 1.0;
  Reduction reduction = Reduction::mean;
};
/// d^2 / 2 where |d| < delta, otherwise delta (|d| - delta / 2). ValueError for delta <= 0.
Tensor huber_loss(const Tensor& input, const Tensor& target, const HuberOptions& options = {});

namespace kernel {
/// args.a: delta.
extern PointwiseSlot huber;
extern PointwiseGradSlot huber_grad;
}  // namespace kernel

}  // namespace tessera

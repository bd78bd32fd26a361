#pragma once

#include "ops/norm/norm_epilogue.h"
#include "tensor/tensor.h"

namespace tessera {

struct BatchNormOptions {
  bool training = false;
  /// Share of the new statistic in the running one: running := (1 - momentum) running + momentum
  /// new.
  double momentum = 0.1;
  double eps = 1e-5;
};

/// Batch normalisation over every axis but the last, then an optional sum and activation:
/// y = activation((x - mean) / sqrt(var + eps) * weight + bias + residual).
///   x                          (..., C), e.g. (N, H, W, C) or (N, C); floating
///   weight, bias               (C), may be undefined (1 and 0); floating, f32 also with half x
///   running_mean, running_var  (C), floating, may be undefined in training
///   epilogue.residual          x's shape and dtype, or undefined; may be x itself
///   returns                    x's shape and dtype
/// Training normalises with the mean and the biased variance of the batch and moves the running
/// statistics in place towards that mean and the unbiased variance (not recorded; bumps their
/// version). Otherwise the running statistics are constants.
/// The epilogue is the same function as `activate(batch_norm(...) + residual, activation)`, in f32
/// and f64 to the last bit; half types are rounded once instead of after each step. It costs no
/// pass over memory of its own. NaN passes through; the derivative is 0 on the activation's bounds.
/// Differentiable to any order in x, weight, bias and residual; in training through the statistics.
/// Keeps x and, with an activation, the result, which the next layer keeps anyway; never the
/// residual.
/// Throws ShapeError (rank < 2, sizes, residual), DTypeError, ValueError (training with fewer than
/// two values per channel; no running statistics outside training).
/// Cost: forward reads x twice (once in evaluation) and the residual, and writes y. Backward reads
/// x, the gradient and, with an activation, y twice and writes one gradient; where the residual
/// wants one too, it is written and read once in place of one read of the gradient and of y. See
/// channel_norm. Source: Ioffe and Szegedy, arXiv 1502.03167.
Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias,
                  const Tensor& running_mean, const Tensor& running_var,
                  const BatchNormOptions& options = {}, const NormEpilogue& epilogue = {});

}  // namespace tessera

#pragma once

#include "tensor/tensor.h"

namespace tessera {

struct BatchNormOptions {
  bool training = false;
  /// Share of the new statistic in the running one: running := (1 - momentum) running + momentum
  /// new.
  double momentum = 0.1;
  double eps = 1e-5;
};

/// Batch normalisation over every axis but the last: y = (x - mean) / sqrt(var + eps) * weight +
/// bias.
///   x                          (..., C), e.g. (N, H, W, C) or (N, C); floating
///   weight, bias               (C), may be undefined (1 and 0); floating, f32 also with half x
///   running_mean, running_var  (C), floating, may be undefined in training
///   returns                    x's shape and dtype
/// Training normalises with the mean and the biased variance of the batch and moves the running
/// statistics in place towards that mean and the unbiased variance (not recorded; bumps their
/// version). Otherwise the running statistics are constants. Differentiable to any order in x,
/// weight and bias; in training through the statistics.
/// Throws ShapeError (rank < 2, sizes), DTypeError, ValueError (training with fewer than two values
/// per channel; no running statistics outside training).
/// Cost: forward reads x twice and writes y (once in evaluation); backward reads x and the gradient
/// twice and writes one. See channel_norm. Source: Ioffe and Szegedy, arXiv 1502.03167.
Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias,
                  const Tensor& running_mean, const Tensor& running_var,
                  const BatchNormOptions& options = {});

}  // namespace tessera

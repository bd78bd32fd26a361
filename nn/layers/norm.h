#pragma once

#include "nn/module.h"
#include "ops/norm/norm_epilogue.h"

namespace tessera::nn {

/// Batch normalisation over all axes but the last (channels): (N, C), (N, L, C) or NHWC. Entries
/// weight, bias, running_mean, running_var (C) and num_batches_tracked (i64 scalar), as torch's
/// BatchNorm1d/2d.
class BatchNorm final : public Module {
 public:
  struct Options {
    double eps = 1e-5;
    double momentum = 0.1;  ///< running = (1 - momentum) running + momentum batch
    bool affine = true;
  };
  BatchNorm(int64_t channels, Options options);
  explicit BatchNorm(int64_t channels) : BatchNorm(channels, Options{}) {}
  Tensor forward(const Tensor& x) override { return forward(x, {}); }
  /// With a sum and an activation in the same pass, see batch_norm.
  Tensor forward(const Tensor& x, const NormEpilogue& epilogue);

  Tensor weight, bias, running_mean, running_var, num_batches_tracked;
  const Options options;
};

/// Instance normalisation of NHWC images; statistics of the single image in training and
/// evaluation.
class InstanceNorm final : public Module {
 public:
  struct Options {
    double eps = 1e-5;
    bool affine = false;
  };
  InstanceNorm(int64_t channels, Options options);
  explicit InstanceNorm(int64_t channels) : InstanceNorm(channels, Options{}) {}
  Tensor forward(const Tensor& x) override;

  Tensor weight, bias;
  const Options options;
};

/// Layer normalisation over the last axes, whose sizes are `shape`.
class LayerNorm final : public Module {
 public:
  explicit LayerNorm(const Shape& shape, double eps = 1e-5);
  Tensor forward(const Tensor& x) override;

  Tensor weight, bias;
  const Shape shape;
  const double eps;
};

/// Group normalisation of NHWC images (or (N, C)): channels in `groups` equal parts.
class GroupNorm final : public Module {
 public:
  GroupNorm(int64_t groups, int64_t channels, double eps = 1e-5);
  Tensor forward(const Tensor& x) override;

  Tensor weight, bias;
  const int64_t groups;
  const double eps;
};

}  // namespace tessera::nn

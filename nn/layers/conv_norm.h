#pragma once

#include "nn/layers/conv.h"
#include "nn/layers/norm.h"

namespace tessera::nn {

/// A convolution followed by batch norm, an optional residual sum and an activation, run as one.
/// Not a module: the two layers stay children of their owner under their own names.
///
/// Where nothing is recorded and the norm is in evaluation mode, the norm is folded into the
/// filter,
///   w' = w gamma / sqrt(var + eps),   b' = beta + (b - mean) gamma / sqrt(var + eps),
/// and the rest is the convolution's epilogue. The folded filter is kept until one of the five
/// tensors changes or training goes on. Otherwise the convolution runs alone, and the sum and the
/// activation are the norm's epilogue.
class ConvNorm {
 public:
  /// Throws ValueError when the convolution has an activation of its own.
  ConvNorm(std::shared_ptr<Conv2d> conv, std::shared_ptr<BatchNorm> norm);

  /// x as Conv2d takes it; `residual` has the output's shape or is undefined.
  Tensor forward(const Tensor& x, Activation activation, const Tensor& residual = {});

 private:
  struct Folded {
    Tensors sources;  // hold the storages, so that an address cannot be reused unseen
    std::vector<uint32_t> versions;
    Tensor weight, bias;
  };
  bool fusable(const Tensor& x, const Tensor& residual) const;
  const Folded& fold();

  std::shared_ptr<Conv2d> conv_;
  std::shared_ptr<BatchNorm> norm_;
  std::unique_ptr<Folded> folded_;
};

}  // namespace tessera::nn

#pragma once

#include "nn/module.h"

namespace tessera::nn {

/// y = x W^T + b over the last axis: (..., in) -> (..., out). Entries weight (out, in), bias (out).
/// Initial values as torch: uniform in +-1/sqrt(in).
class Linear final : public Module {
 public:
  Linear(int64_t in, int64_t out, bool bias = true);
  Tensor forward(const Tensor& x) override;
  Tensor weight, bias;
};

}  // namespace tessera::nn

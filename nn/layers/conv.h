#pragma once

#include "nn/module.h"
#include "ops/conv/conv2d.h"

namespace tessera::nn {

/// Two-dimensional convolution on NHWC images. Entries weight (OHWI) and bias (out). Initial values
/// as torch: uniform in +-1/sqrt(fan_in). An activation becomes part of the convolution where
/// nothing is recorded.
class Conv2d final : public Module {
 public:
  struct Options {
    Size2 stride = 1, padding = 0, dilation = 1;
    int64_t groups = 1;
    bool bias = true;
    Activation activation = Activation::none;  ///< of the result
  };
  /// Throws ValueError when groups does not divide both channel counts.
  Conv2d(int64_t in, int64_t out, Size2 kernel, Options options);
  Conv2d(int64_t in, int64_t out, Size2 kernel) : Conv2d(in, out, kernel, Options{}) {}
  Tensor forward(const Tensor& x) override;

  Tensor weight, bias;
  const Options options;
};

/// Transposed convolution. weight is (in, KH, KW, out / groups): the filter of the convolution it
/// is the adjoint of.
class ConvTranspose2d final : public Module {
 public:
  struct Options {
    Size2 stride = 1, padding = 0, output_padding = 0, dilation = 1;
    int64_t groups = 1;
    bool bias = true;
  };
  ConvTranspose2d(int64_t in, int64_t out, Size2 kernel, Options options);
  ConvTranspose2d(int64_t in, int64_t out, Size2 kernel)
      : ConvTranspose2d(in, out, kernel, Options{}) {}
  Tensor forward(const Tensor& x) override;

  Tensor weight, bias;
  const Options options;
};

}  // namespace tessera::nn

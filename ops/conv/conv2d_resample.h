#pragma once

#include "ops/image/pad.h"
#include "tensor/tensor.h"

namespace tessera {

struct Conv2dResampleOptions {
  int64_t up = 1, down = 1;
  ImagePad padding{};  ///< of the enlarged image; may be negative
  int64_t groups = 1;
  bool flip_weight = true;   ///< correlate as conv2d does; otherwise convolve: w reversed
  bool flip_filter = false;  ///< of the resampling filter, as in upfirdn2d
};

/// Enlarges x (N, H, W, C) `up` times with `filter`, convolves with w (O, KH, KW, C / groups) at
/// stride 1, and reduces the result `down` times with `filter`; padding comes once, in front of it
/// all, beyond what the filter needs to keep the image in its place. The steps are joined where
/// that saves work: for down alone the convolution has the stride, for up it is a transposed one.
/// filter: as upfirdn2d's, or undefined for none.
///
/// A composition of upfirdn2d and conv2d: differentiable in x and w, any order. Throws ValueError
/// (up, down), and what those throw.
/// Source: StyleGAN2-ADA, arXiv 2006.06676.
Tensor conv2d_resample(const Tensor& x, const Tensor& w, const Tensor& filter,
                       const Conv2dResampleOptions& options = {});

struct ModulatedConv2dOptions {
  int64_t up = 1, down = 1;
  ImagePad padding{};
  bool demodulate = true;
  bool flip_weight = true;
  Tensor noise{};  ///< added to the result, to whose shape it broadcasts; or undefined
};

/// The weight-modulated convolution of StyleGAN2: conv2d_resample whose filters are scaled per
/// image by styles (N, C) along the input channels, and with `demodulate` brought to length 1
/// afterwards:
///
///   y[n, ..., o] = d[n, o] * conv(x[n] * s[n], w)[..., o] + noise
///   d[n, o] = (sum_{kh, kw, i} (w[o, kh, kw, i] s[n, i])^2 + 1e-8)^(-1/2)
///
/// Scaling the images before and after costs less than filters for every image. For half types w
/// and s are scaled down first, which d undoes, so that nothing overflows. s and w may be f32 then,
/// and are cast after that.
///
/// A composition of public operators: differentiable in x, w, s and noise, any order. Throws
/// ShapeError (s), and what conv2d_resample throws.
/// Source: StyleGAN2, arXiv 1912.04958, section 2.2.
Tensor modulated_conv2d(const Tensor& x, const Tensor& w, const Tensor& styles,
                        const Tensor& filter, const ModulatedConv2dOptions& options = {});

}  // namespace tessera

#pragma once

#include <optional>

#include "ops/image/pad.h"
#include "ops/size2.h"
#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

/// Resampling of images x (N, H, W, C) with a FIR filter, every channel alike:
///
///   1. put up - 1 zeros behind each pixel, so that a row has W * up
///   2. pad with zeros; negative padding crops
///   3. y[i, j] = gain * sum_{a, b} h[a, b] * padded[i + a, j + b] wherever the filter fits in, h
///      being the filter with both axes reversed (a convolution), or itself for flip_filter
///   4. keep every down-th pixel, beginning with the first
///
/// so that W becomes (W * up + left + right - taps) / down + 1, rounded down, and H alike.
/// Source: StyleGAN2, arXiv 1912.04958; the names are those of its code.
namespace tessera {

struct Upfirdn2dOptions {
  Size2 up = 1, down = 1;  ///< >= 1
  ImagePad padding{};      ///< of the image with its zeros; may be negative
  double gain = 1;
  bool flip_filter = false;  ///< correlate instead of convolving
};

/// `filter`: f32 on x's device, (taps of rows, taps of columns), or (taps) for the two axes one
/// after the other, or undefined for none. Floating dtypes; half types are computed in f32.
/// Differentiable in x, any order: the gradient is upfirdn2d with up and down exchanged and the
/// filter reversed. There is no gradient in the filter.
/// Throws ShapeError (ranks, no pixels, a filter larger than the padded image), ValueError
/// (factors), DTypeError, DeviceError.
/// Cost: 2 * taps / (up.h * up.w) operations per element of y, with taps those of a 2-D filter.
Tensor upfirdn2d(const Tensor& x, const Tensor& filter, const Upfirdn2dOptions& options = {});

struct FilterOptions {
  ImagePad padding{};  ///< beyond what keeps the image in its place
  double gain = 1;
  bool flip_filter = false;
};
/// The filter centred on each pixel: y has x's size, plus padding. Errors as upfirdn2d.
Tensor filter2d(const Tensor& x, const Tensor& filter, const FilterOptions& options = {});
/// `up` times the size; the brightness stays, as gain is multiplied by up.h * up.w.
Tensor upsample2d(const Tensor& x, const Tensor& filter, Size2 up = 2,
                  const FilterOptions& options = {});
/// 1 / `down` of the size.
Tensor downsample2d(const Tensor& x, const Tensor& filter, Size2 down = 2,
                    const FilterOptions& options = {});

struct SetupFilterOptions {
  bool normalize = true;  ///< to sum 1
  bool flip = false;
  double gain = 1;                  ///< of the filter applied to both axes
  std::optional<bool> separable{};  ///< unless given: from 8 taps on
};
/// A filter for the functions above from taps of rank 0, 1 or 2: f32, on the taps' device. One axis
/// of taps becomes their outer product unless separable. Throws ShapeError (rank, no taps),
/// ValueError (a 2-D filter as separable).
Tensor setup_filter(const Tensor& taps, const SetupFilterOptions& options = {});

/// What the kernels are given; `top` and `left` are the padding in front.
struct Upfirdn2dArgs {
  Size2 up = 1, down = 1;
  int64_t top = 0, left = 0;
  double gain = 1;
  bool flip_filter = false;
};

namespace kernel {
/// x (N, H, W, C), filter (taps of rows, taps of columns) f32 and y contiguous; y has its final
/// size. Any of N, C may be 0.
extern KernelSlot<void(const Tensor& x, const Tensor& filter, const Upfirdn2dArgs& args, Tensor& y)>
    upfirdn2d;
}  // namespace kernel

}  // namespace tessera

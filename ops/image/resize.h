#pragma once

#include "ops/image/separable.h"
#include "tensor/tensor.h"

namespace tessera {

enum class ResizeMode { nearest, bilinear, bicubic };

struct ResizeOptions {
  ResizeMode mode = ResizeMode::bilinear;
  /// Corner pixels keep their centres: source = o * (in - 1) / (out - 1). Otherwise pixels are unit
  /// squares: source = (o + 0.5) * in / out - 0.5. Not for nearest, which takes floor(o * in /
  /// out).
  bool align_corners = false;
};

/// Resamples images x (N, H, W, C) to size = {height, width}, without antialiasing: the arithmetic
/// of torch's interpolate. Bicubic is the convolution with a = -0.75; indices are clamped at the
/// border. f32 and f64; nearest takes any dtype.
/// Differentiable, any order (linear: a separable sparse map whose adjoint is the transposed map).
/// Throws ShapeError (rank, an image without pixels), ValueError (size, nearest with
/// align_corners), DTypeError. Cost: one read of each input row per tap, one write per output.
Tensor resize(const Tensor& x, const Shape& size, const ResizeOptions& options = {});

/// The same to floor(size * scale), with 1 / scale used as the step between samples instead of
/// in / out (torch's scale_factor; the two differ when size * scale is not whole). As there,
/// nearest ignores it where the size stays or doubles, bilinear where it stays.
Tensor resize_by(const Tensor& x, double scale_h, double scale_w,
                 const ResizeOptions& options = {});

/// The map of one axis. scale: the given scale factor, or 0 to use in / out.
AxisMap resize_map(int64_t in, int64_t out, const ResizeOptions& options, double scale = 0);

}  // namespace tessera

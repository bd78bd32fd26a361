#pragma once

#include "ops/pool/window.h"
#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

struct AvgPool2dOptions {
  Size2 kernel = 1;
  Size2 stride = 0;  // 0: kernel
  Size2 padding = 0;
  bool ceil_mode = false;
  /// Divide by the window's size including explicit padding (never by the overhang of ceil_mode);
  /// otherwise by the number of input pixels in it.
  bool count_include_pad = true;
  int64_t divisor_override = 0;  // 0: none
};

/// Mean over windows.
///   x        (N, H, W, C)  floating; half types accumulate in f32
///   returns  (N, OH, OW, C), sizes and errors as make_windows(); ValueError for divisor_override <
///   0
/// Differentiable to any order (linear).
Tensor avg_pool2d(const Tensor& x, const AvgPool2dOptions& options);

namespace kernel {
/// y[n, i, j, c] = mean of x over window (i, j). Contiguous tensors.
extern KernelSlot<void(const Tensor& x, const Windows& windows, Tensor& y)> window_mean;
/// Its adjoint: x[n, h, w, c] = sum of y / divisor over the windows that contain (h, w).
extern KernelSlot<void(const Tensor& y, const Windows& windows, Tensor& x)> window_spread;
}  // namespace kernel

}  // namespace tessera

#pragma once

#include <utility>

#include "ops/pool/window.h"
#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

struct MaxPool2dOptions {
  Size2 kernel = 1;
  Size2 stride = 0;  // 0: kernel
  Size2 padding = 0;
  Size2 dilation = 1;
  bool ceil_mode = false;
};

/// Maximum over windows.
///   x        (N, H, W, C)  floating
///   returns  (N, OH, OW, C), sizes and errors as make_windows()
/// Padding counts as -infinity. Among equal values the first in row-major order wins; a NaN in a
/// window makes its output NaN. A window without any input (dilation over a tiny image) gives
/// -infinity. Differentiable to any order: the gradient goes to the winning element.
/// Cost: reads x about once, writes y and (only when a gradient is needed) as many i32 indices.
Tensor max_pool2d(const Tensor& x, const MaxPool2dOptions& options);

/// The same with the i32 index h * W + w of each winner inside its image (-1: empty window).
std::pair<Tensor, Tensor> max_pool2d_with_indices(const Tensor& x, const MaxPool2dOptions& options);

namespace kernel {
/// All tensors contiguous; `indices` i32 of y's shape, undefined when not wanted.
extern KernelSlot<void(const Tensor& x, const Windows& windows, Tensor& y, Tensor& indices)>
    max_pool2d;
/// gx[n, h, w, c] = sum of g over the windows whose index is h * W + w.
extern KernelSlot<void(const Tensor& g, const Tensor& indices, const Windows& windows, Tensor& gx)>
    max_pool2d_scatter;
/// y[n, i, j, c] = x[n, indices[n, i, j, c], c], 0 for index -1.
extern KernelSlot<void(const Tensor& x, const Tensor& indices, const Windows& windows, Tensor& y)>
    max_pool2d_gather;
}  // namespace kernel

}  // namespace tessera

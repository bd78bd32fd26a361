#pragma once

#include "ops/image/grid_math.h"
#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

/// Samples images at the locations of a grid.
///   x     (N, H, W, C)   f32 or f64
///   grid  (N, Ho, Wo, 2) same dtype: (x, y) in [-1, 1] over the image, x along W
///   returns (N, Ho, Wo, C)
/// Arithmetic of torch's grid_sample. A NaN location samples zero.
/// Differentiable in x and grid. Order: any, by closed fused operators for every derivative that is
/// of first order in grid; the second derivative in grid runs a composite of gathers. Where the
/// interpolation has kinks (pixel centres, borders) one side's derivative is returned; with
/// GridMode::nearest the gradient of grid is zero. Deterministic.
/// Throws ShapeError (ranks, N, last axis 2, an image without pixels), DTypeError.
/// Cost: 4 reads of C channels per location. Source: Jaderberg et al., arXiv 1506.02025.
Tensor grid_sample(const Tensor& x, const Tensor& grid, const GridSampleOptions& options = {});

/// The adjoint in x: adds g (N, Ho, Wo, C) into zero images of x_shape at the locations of the
/// grid.
Tensor grid_sample_input_grad(const Tensor& g, const Tensor& grid, const Shape& x_shape,
                              const GridSampleOptions& options = {});
/// d(sum of g * grid_sample(x, grid)) / d(grid): (N, Ho, Wo, 2).
Tensor grid_sample_grid_grad(const Tensor& g, const Tensor& x, const Tensor& grid,
                             const GridSampleOptions& options = {});

/// Sampling grid of affine maps: grid(n, h, w) = theta(n) * (x_w, y_h, 1) with x and y running over
/// [-1, 1] (pixel centres; the corner pixels' centres at -1 and 1 with align_corners).
///   theta (N, 2, 3), f32 or f64    returns (N, height, width, 2)
/// Differentiable, any order. Throws ShapeError (theta), ValueError (size).
Tensor affine_grid(const Tensor& theta, int64_t height, int64_t width, bool align_corners = false);

/// The piecewise linear parts of bilinear sampling at a grid, per location (N, Ho, Wo). The
/// fractional position between pixels is slope * grid + shift; corner k = 2 * dy + dx is pixel
/// index[k] of the images flattened to (N * H * W, C) and counts mask[k] (0 or 1).
struct GridCorners {
  Tensor slope_x, slope_y, shift_x, shift_y;  // grid's dtype
  Tensor index;                               // i64 (4, N, Ho, Wo)
  Tensor mask;                                // grid's dtype, (4, N, Ho, Wo)
};
template <class F>
void visit_tensors(const GridCorners& corners, F&& f) {
  for (const Tensor* t : {&corners.slope_x, &corners.slope_y, &corners.shift_x, &corners.shift_y,
                          &corners.index, &corners.mask})
    visit_tensors(*t, f);
}

namespace kernel {
extern KernelSlot<void(const Tensor& x, const Tensor& grid, const GridSampleOptions&, Tensor& y)>
    grid_sample;
/// gx is zero on entry.
extern KernelSlot<void(const Tensor& g, const Tensor& grid, const GridSampleOptions&, Tensor& gx)>
    grid_sample_input_grad;
extern KernelSlot<void(const Tensor& g, const Tensor& x, const Tensor& grid,
                       const GridSampleOptions&, Tensor& ggrid)>
    grid_sample_grid_grad;
extern KernelSlot<void(const Tensor& grid, const Shape& x_shape, const GridSampleOptions&,
                       GridCorners& out)>
    grid_corners;
}  // namespace kernel

}  // namespace tessera

#include "ops/image/grid_sample.h"

#include "autograd/apply.h"
#include "autograd/engine.h"
#include "ops/index/concat.h"
#include "ops/index/gather.h"
#include "ops/index/view.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/reduce/sum.h"
#include "tensor/view.h"

namespace tessera {

namespace {

// With S(grid) the linear sampling operator: y = S x. The three operators below are y, S^T g and
// d<g, S x>/dgrid; the first two differentiate into the three.

struct GridSample {
  static constexpr std::string_view name = "grid_sample";
  GridSampleOptions options;

  Tensor forward(Ctx& ctx, const Tensor& x, const Tensor& grid) const {
    ctx.save({x, grid});
    Tensor y = empty({x.size(0), grid.size(1), grid.size(2), x.size(3)}, x.dtype(), x.device());
    kernel::grid_sample(x.device(), view::contiguous(x), view::contiguous(grid), options, y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    const Tensor x = ctx.saved(0), grid = ctx.saved(1);
    return {ctx.needs_grad(0) ? grid_sample_input_grad(g, grid, x.shape(), options) : Tensor(),
            ctx.needs_grad(1) ? grid_sample_grid_grad(g, x, grid, options) : Tensor()};
  }
};

struct GridSampleInputGrad {
  static constexpr std::string_view name = "grid_sample_input_grad";
  Shape x_shape;
  GridSampleOptions options;

  Tensor forward(Ctx& ctx, const Tensor& g, const Tensor& grid) const {
    ctx.save({g, grid});
    Tensor gx = zeros(x_shape, g.dtype(), g.device());
    kernel::grid_sample_input_grad(g.device(), view::contiguous(g), view::contiguous(grid), options,
                                   gx);
    return gx;
  }
  Grads backward(const Ctx& ctx, const Tensor& gg) const {
    const Tensor g = ctx.saved(0), grid = ctx.saved(1);
    return {ctx.needs_grad(0) ? grid_sample(gg, grid, options) : Tensor(),
            ctx.needs_grad(1) ? grid_sample_grid_grad(g, gg, grid, options) : Tensor()};
  }
};

/// grid_sample_grid_grad (bilinear) in public operators.
Tensor grid_grad_composite(const Tensor& g, const Tensor& x, const Tensor& grid,
                           const GridSampleOptions& options) {
  const Tensor fixed = view::contiguous(grid.detach());
  GridCorners c;
  kernel::grid_corners(grid.device(), fixed, x.shape(), options, c);
  const Tensor tx = c.slope_x * select(grid, -1, 0) + c.shift_x;  // (N, Ho, Wo)
  const Tensor ty = c.slope_y * select(grid, -1, 1) + c.shift_y;
  const Tensor pixels = reshape(x, {x.size(0) * x.size(1) * x.size(2), x.size(3)});
  const auto corner = [&](int64_t k) {  // sum over channels of g * pixel k: (N, Ho, Wo)
    const Tensor v = take_rows(pixels, view::select(c.index, 0, k));
    return view::select(c.mask, 0, k) * sum(g * v, {-1});
  };
  const Tensor v00 = corner(0), v01 = corner(1), v10 = corner(2), v11 = corner(3);
  const Tensor top = v01 - v00, bottom = v11 - v10, left = v10 - v00, right = v11 - v01;
  return stack({c.slope_x * (top + ty * (bottom - top)), c.slope_y * (left + tx * (right - left))},
               -1);
}

struct GridSampleGridGrad {
  static constexpr std::string_view name = "grid_sample_grid_grad";
  GridSampleOptions options;

  Tensor forward(Ctx& ctx, const Tensor& g, const Tensor& x, const Tensor& grid) const {
    ctx.save({g, x, grid});
    Tensor out = empty(grid.shape(), grid.dtype(), grid.device());
    kernel::grid_sample_grid_grad(g.device(), view::contiguous(g), view::contiguous(x),
                                  view::contiguous(grid), options, out);
    return out;
  }
  Grads backward(const Ctx& ctx, const Tensor& gg) const {
    const Tensors inputs{ctx.saved(0), ctx.saved(1), ctx.saved(2)};
    return composite_vjp(
        [options = options](const Tensors& in) {
          return Tensors{grid_grad_composite(in[0], in[1], in[2], options)};
        },
        inputs, {gg}, {ctx.needs_grad(0), ctx.needs_grad(1), ctx.needs_grad(2)});
  }
};

void check_grid(const Shape& x, DType dtype, const Tensor& grid, std::string_view op) {
  TESSERA_CHECK(ShapeError, x.rank() == 4 && grid.rank() == 4 && grid.shape()[3] == 2, op,
                ": expects images (N, H, W, C) and a grid (N, Ho, Wo, 2), got ", x, " and ",
                grid.shape());
  TESSERA_CHECK(ShapeError, x[0] == grid.shape()[0], op, ": ", x[0], " images but ",
                grid.shape()[0], " grids: ", x, " and ", grid.shape());
  TESSERA_CHECK(ShapeError, x[1] > 0 && x[2] > 0, op, ": the image has no pixels: ", x);
  TESSERA_CHECK(DTypeError, dtype == grid.dtype(), op, ": image is ", dtype, ", grid is ",
                grid.dtype());
}

}  // namespace

Tensor grid_sample(const Tensor& x, const Tensor& grid, const GridSampleOptions& options) {
  check_grid(x.shape(), x.dtype(), grid, "grid_sample");
  return apply(GridSample{options}, x, grid);
}

Tensor grid_sample_input_grad(const Tensor& g, const Tensor& grid, const Shape& x_shape,
                              const GridSampleOptions& options) {
  check_grid(x_shape, g.dtype(), grid, "grid_sample_input_grad");
  const Shape expected{grid.size(0), grid.size(1), grid.size(2), x_shape[3]};
  TESSERA_CHECK(ShapeError, g.shape() == expected, "grid_sample_input_grad: g must be ", expected,
                ", got ", g.shape());
  return apply(GridSampleInputGrad{x_shape, options}, g, grid);
}

Tensor grid_sample_grid_grad(const Tensor& g, const Tensor& x, const Tensor& grid,
                             const GridSampleOptions& options) {
  check_grid(x.shape(), x.dtype(), grid, "grid_sample_grid_grad");
  const Shape expected{grid.size(0), grid.size(1), grid.size(2), x.size(3)};
  TESSERA_CHECK(ShapeError, g.shape() == expected, "grid_sample_grid_grad: g must be ", expected,
                ", got ", g.shape());
  if (options.mode == GridMode::nearest) return zeros_like(grid);
  return apply(GridSampleGridGrad{options}, g, x, grid);
}

Tensor affine_grid(const Tensor& theta, int64_t height, int64_t width, bool align_corners) {
  TESSERA_CHECK(ShapeError, theta.rank() == 3 && theta.size(1) == 2 && theta.size(2) == 3,
                "affine_grid: theta must be (N, 2, 3), got ", theta.shape());
  TESSERA_CHECK(ValueError, height >= 1 && width >= 1, "affine_grid: size must be positive, got ",
                height, " x ", width);
  const auto axis = [&](int64_t n) {
    std::vector<double> at(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) {
      const double c = static_cast<double>(2 * i + 1 - n);
      const double over = align_corners ? static_cast<double>(n - 1) : static_cast<double>(n);
      at[static_cast<size_t>(i)] = n == 1 ? 0 : c / over;
    }
    return view::to(view::to(from_vector(at), theta.dtype()), theta.device());
  };
  const Tensor x = view::reshape(axis(width), {1, 1, width, 1});
  const Tensor y = view::reshape(axis(height), {1, height, 1, 1});
  const Tensor columns = reshape(permute(theta, {2, 0, 1}), {3, theta.size(0), 1, 1, 2});
  return x * select(columns, 0, 0) + (y * select(columns, 0, 1) + select(columns, 0, 2));
}

}  // namespace tessera

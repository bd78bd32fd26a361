#include "ops/image/grid_sample.h"

#include <cmath>

#include "tests/ops/array.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

/// Pixel coordinate of a grid value after padding; the lattice keeps it finite.
double pixel_of(double g, int64_t size, const GridSampleOptions& o) {
  const double n = double(size);
  double at = o.align_corners ? (g + 1) / 2 * (n - 1) : ((g + 1) * n - 1) / 2;
  if (o.padding == GridPadding::zeros) return at;
  if (o.padding == GridPadding::reflection) {
    const double low = o.align_corners ? 0 : -0.5, high = o.align_corners ? n - 1 : n - 0.5;
    if (high <= low) return 0;
    while (at < low || at > high) at = at < low ? 2 * low - at : 2 * high - at;
  }
  return std::min(std::max(at, 0.0), n - 1);
}

Tensor grid_sample64(const Tensor& x, const Tensor& grid, const GridSampleOptions& o) {
  const Array image(x), at(grid);
  const int64_t height = x.size(1), width = x.size(2);
  return Array::make({x.size(0), grid.size(1), grid.size(2), x.size(3)},
                     [&](const Dims& i) {
                       const double px = pixel_of(at.at({i[0], i[1], i[2], 0}), width, o);
                       const double py = pixel_of(at.at({i[0], i[1], i[2], 1}), height, o);
                       const auto pixel = [&](double h, double w) {
                         const auto r = static_cast<int64_t>(h), c = static_cast<int64_t>(w);
                         const bool inside = r >= 0 && r < height && c >= 0 && c < width;
                         return inside ? image.at({i[0], r, c, i[3]}) : 0.0;
                       };
                       if (o.mode == GridMode::nearest)
                         return pixel(std::nearbyint(py), std::nearbyint(px));
                       const double h = std::floor(py), w = std::floor(px);
                       const double ty = py - h, tx = px - w;
                       return (1 - ty) * ((1 - tx) * pixel(h, w) + tx * pixel(h, w + 1)) +
                              ty * ((1 - tx) * pixel(h + 1, w) + tx * pixel(h + 1, w + 1));
                     })
      .tensor();
}

double dot(const Tensor& a, const Tensor& b) {
  const Array x(a), y(b);
  double s = 0;
  for (size_t i = 0; i < x.v.size(); ++i) s += x.v[i] * y.v[i];
  return s;
}

/// The adjoint from its definition: <g, S e> for every unit image e.
Tensor input_grad64(const Tensor& g, const Tensor& grid, const Shape& shape,
                    const GridSampleOptions& o) {
  return Array::make(shape,
                     [&](const Dims& i) {
                       Array unit(shape);
                       unit.at(i) = 1;
                       return dot(g, grid_sample64(unit.tensor(), grid, o));
                     })
      .tensor();
}

/// Central differences. Sampling is linear in each coordinate within a pixel, so the step need not
/// be small.
Tensor grid_grad64(const Tensor& g, const Tensor& x, const Tensor& grid,
                   const GridSampleOptions& o) {
  constexpr double step = 1.0 / 4096;
  return Array::make(grid.shape(),
                     [&](const Dims& i) {
                       Array up(grid), down(grid);
                       up.at(i) += step;
                       down.at(i) -= step;
                       const double rise = dot(g, grid_sample64(x, up.tensor(), o)) -
                                           dot(g, grid_sample64(x, down.tensor(), o));
                       return rise / (2 * step);
                     })
      .tensor();
}

std::string label(const GridSampleOptions& o) {
  const char* padding[] = {"zeros", "border", "reflection"};
  return cat(o.mode == GridMode::nearest ? "nearest_" : "bilinear_",
             padding[static_cast<int>(o.padding)], o.align_corners ? "_align" : "");
}

}  // namespace

TESSERA_OP_CASES(grid_sample) {
  struct Row {
    Shape x, grid;
  };
  for (GridMode mode : {GridMode::bilinear, GridMode::nearest})
    for (GridPadding padding : {GridPadding::zeros, GridPadding::border, GridPadding::reflection})
      for (bool align : {false, true}) {
        const GridSampleOptions o{mode, padding, align};
        for (const Row& row : {Row{{2, 4, 5, 3}, {2, 3, 2, 2}}, Row{{1, 3, 1, 9}, {1, 2, 3, 2}},
                               Row{{1, 2, 2, 1}, {1, 0, 3, 2}}}) {
          const bool wide = row.x[3] > 4;
          cases.add(
              {.name = cat("grid_sample_", label(o), row.x, row.grid),
               .inputs = {{.shape = row.x}, {.shape = row.grid, .lo = -1.6, .hi = 1.6}},
               .run = [=](const Tensors& in) { return Tensors{grid_sample(in[0], in[1], o)}; },
               .reference =
                   [=](const Tensors& in) { return Tensors{grid_sample64(in[0], in[1], o)}; },
               .order = 2,
               .f32_tolerance = wide ? 2.0 : 1.0});
        }
        if (mode == GridMode::nearest) continue;
        // The pieces of the gradient, differentiated on their own: together they give order 3.
        cases.add(
            {.name = cat("grid_sample_input_grad_", label(o)),
             .inputs = {{.shape = {1, 2, 2, 2}}, {.shape = {1, 2, 2, 2}, .lo = -1.5, .hi = 1.5}},
             .run =
                 [=](const Tensors& in) {
                   return Tensors{grid_sample_input_grad(in[0], in[1], {1, 3, 4, 2}, o)};
                 },
             .reference =
                 [=](const Tensors& in) {
                   return Tensors{input_grad64(in[0], in[1], {1, 3, 4, 2}, o)};
                 },
             .f32_tolerance = 2});
        cases.add(
            {.name = cat("grid_sample_grid_grad_", label(o)),
             .inputs = {{.shape = {1, 2, 2, 2}},
                        {.shape = {1, 3, 4, 2}},
                        {.shape = {1, 2, 2, 2}, .lo = -1.5, .hi = 1.5}},
             .run =
                 [=](const Tensors& in) {
                   return Tensors{grid_sample_grid_grad(in[0], in[1], in[2], o)};
                 },
             .reference =
                 [=](const Tensors& in) { return Tensors{grid_grad64(in[0], in[1], in[2], o)}; },
             .f32_tolerance = 2});
      }
  cases.add_error<ShapeError>("grid_sample_last_axis",
                              [] {
                                grid_sample(zeros({1, 3, 3, 1}), zeros({1, 2, 2, 3}));
                              },
                              {"[1, 3, 3, 1]", "[1, 2, 2, 3]"});
  cases.add_error<ShapeError>("grid_sample_batch",
                              [] {
                                grid_sample(zeros({2, 3, 3, 1}), zeros({1, 2, 2, 2}));
                              },
                              {"2 images", "1 grids"});
  cases.add_error<ShapeError>("grid_sample_no_pixels",
                              [] {
                                grid_sample(zeros({1, 0, 3, 1}), zeros({1, 2, 2, 2}));
                              },
                              {"[1, 0, 3, 1]"});
  cases.add_error<DTypeError>("grid_sample_dtypes",
                              [] {
                                grid_sample(zeros({1, 3, 3, 1}), zeros({1, 2, 2, 2}, DType::f64));
                              },
                              {"f32", "f64"});
}

TESSERA_OP_CASES(affine_grid) {
  for (bool align : {false, true})
    for (const Shape& size : {Shape{3, 4}, Shape{1, 5}})
      cases.add({.name = cat("affine_grid_", align, size),
                 .inputs = {{.shape = {2, 2, 3}}},
                 .run =
                     [=](const Tensors& in) {
                       return Tensors{affine_grid(in[0], size[0], size[1], align)};
                     },
                 .reference =
                     [=](const Tensors& in) {
                       const Array theta(in[0]);
                       const auto at = [&](int64_t i, int64_t n) {
                         if (align) return n == 1 ? 0.0 : -1 + 2 * double(i) / double(n - 1);
                         return -1 + (2 * double(i) + 1) / double(n);
                       };
                       return Tensors{Array::make({2, size[0], size[1], 2}, [&](const Dims& i) {
                                        const double x = at(i[2], size[1]);
                                        const double y = at(i[1], size[0]);
                                        return theta.at({i[0], i[3], 0}) * x +
                                               theta.at({i[0], i[3], 1}) * y +
                                               theta.at({i[0], i[3], 2});
                                      }).tensor()};
                     }});
  cases.add_error<ShapeError>("affine_grid_theta",
                              [] {
                                affine_grid(zeros({2, 3, 3}), 2, 2);
                              },
                              {"[2, 3, 3]"});
  cases.add_error<ValueError>("affine_grid_size",
                              [] {
                                affine_grid(zeros({2, 2, 3}), 0, 2);
                              },
                              {"0 x 2"});
}

#include "ops/image/resize.h"

#include <algorithm>
#include <cmath>

#include "tests/ops/array.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

/// One sample of channel c of image n at (y, x) in pixels, read with clamped coordinates.
double sample(const Array& image, int64_t n, double y, double x, int64_t c, ResizeMode mode) {
  const auto pixel = [&](int64_t h, int64_t w) {
    h = std::clamp<int64_t>(h, 0, image.shape[1] - 1);
    w = std::clamp<int64_t>(w, 0, image.shape[2] - 1);
    return image.at({n, h, w, c});
  };
  if (mode == ResizeMode::bilinear) {
    y = std::max(y, 0.0);
    x = std::max(x, 0.0);
  }
  const auto h = static_cast<int64_t>(std::floor(y)), w = static_cast<int64_t>(std::floor(x));
  const double ty = y - static_cast<double>(h), tx = x - static_cast<double>(w);
  if (mode == ResizeMode::bilinear)
    return (1 - ty) * ((1 - tx) * pixel(h, w) + tx * pixel(h, w + 1)) +
           ty * ((1 - tx) * pixel(h + 1, w) + tx * pixel(h + 1, w + 1));
  const auto cubic = [](double t, double* weight) {  // the four weights around fraction t
    const double a = -0.75;
    const auto near = [&](double d) { return (a + 2) * d * d * d - (a + 3) * d * d + 1; };
    const auto far = [&](double d) { return a * d * d * d - 5 * a * d * d + 8 * a * d - 4 * a; };
    weight[0] = far(1 + t);
    weight[1] = near(t);
    weight[2] = near(1 - t);
    weight[3] = far(2 - t);
  };
  double wy[4], wx[4], sum = 0;
  cubic(ty, wy);
  cubic(tx, wx);
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j) sum += wy[i] * wx[j] * pixel(h - 1 + i, w - 1 + j);
  return sum;
}

Tensor resize64(const Tensor& x, const Shape& size, const ResizeOptions& o, double scale_h,
                double scale_w) {
  const Array image(x);
  const auto source = [&](int64_t i, int64_t in, int64_t out, double scale) {
    const double n = double(in), m = double(out), at = double(i);
    if (o.align_corners) return out == 1 ? 0.0 : at * (n - 1) / (m - 1);
    return (at + 0.5) * (scale > 0 ? 1 / scale : n / m) - 0.5;
  };
  return Array::make({x.size(0), size[0], size[1], x.size(3)},
                     [&](const Dims& i) {
                       const int64_t h = x.size(1), w = x.size(2);
                       if (o.mode == ResizeMode::nearest)  // the lattice keeps clear of ties
                         return image.at({i[0], i[1] * h / size[0], i[2] * w / size[1], i[3]});
                       return sample(image, i[0], source(i[1], h, size[0], scale_h),
                                     source(i[2], w, size[1], scale_w), i[3], o.mode);
                     })
      .tensor();
}

const char* name_of(ResizeMode mode) {
  return mode == ResizeMode::nearest    ? "nearest"
         : mode == ResizeMode::bilinear ? "bilinear"
                                        : "bicubic";
}

}  // namespace

TESSERA_OP_CASES(resize) {
  struct Row {
    Shape x, size;
  };
  for (ResizeMode mode : {ResizeMode::nearest, ResizeMode::bilinear, ResizeMode::bicubic})
    for (bool align : {false, true}) {
      if (mode == ResizeMode::nearest && align) continue;
      const ResizeOptions o{mode, align};
      for (const Row& row :
           {Row{{2, 3, 4, 3}, {6, 8}}, Row{{1, 5, 6, 2}, {3, 2}}, Row{{1, 3, 3, 5}, {3, 3}},
            Row{{2, 1, 1, 1}, {4, 3}}, Row{{1, 4, 5, 1}, {1, 1}}, Row{{1, 2, 7, 17}, {5, 4}},
            Row{{0, 2, 2, 3}, {3, 3}}})
        cases.add(
            {.name = cat("resize_", name_of(mode), align ? "_align" : "", row.x, row.size),
             .inputs = {{.shape = row.x}},
             .run = [=](const Tensors& in) { return Tensors{resize(in[0], row.size, o)}; },
             .reference =
                 [=](const Tensors& in) { return Tensors{resize64(in[0], row.size, o, 0, 0)}; }});
    }
  // A given scale that does not fit the size is used as it is.
  for (ResizeMode mode : {ResizeMode::bilinear, ResizeMode::bicubic})
    cases.add(
        {.name = cat("resize_by_", name_of(mode)),
         .inputs = {{.shape = {1, 5, 4, 2}}},
         .run = [=](const Tensors& in) { return Tensors{resize_by(in[0], 1.7, 0.6, {mode})}; },
         .reference =
             [=](const Tensors& in) {
               return Tensors{resize64(in[0], {8, 2}, {mode}, 1.7, 0.6)};
             }});
  cases.add_error<ShapeError>("resize_rank",
                              [] {
                                resize(zeros({3, 3, 1}), {2, 2});
                              },
                              {"[3, 3, 1]"});
  cases.add_error<ShapeError>("resize_empty_image",
                              [] {
                                resize(zeros({1, 0, 3, 1}), {2, 2});
                              },
                              {"[1, 0, 3, 1]"});
  cases.add_error<ValueError>("resize_size",
                              [] {
                                resize(zeros({1, 3, 3, 1}), {2, 0});
                              },
                              {"2 x 0"});
  cases.add_error<ValueError>("resize_nearest_align",
                              [] {
                                resize(zeros({1, 3, 3, 1}), {2, 2}, {ResizeMode::nearest, true});
                              },
                              {"align_corners"});
  cases.add_error<ValueError>("resize_by_scale",
                              [] {
                                resize_by(zeros({1, 3, 3, 1}), 0, 1);
                              },
                              {"scales", "0"});
  cases.add_error<DTypeError>("resize_integers",
                              [] {
                                resize(zeros({1, 3, 3, 1}, DType::u8), {2, 2});
                              },
                              {"u8"});
}

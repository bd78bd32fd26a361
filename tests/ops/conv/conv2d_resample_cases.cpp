#include "ops/conv/conv2d_resample.h"

#include <cmath>

#include "ops/conv/conv2d.h"
#include "ops/image/upfirdn2d.h"
#include "ops/index/flip.h"
#include "tests/ops/array.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

/// Without symmetry, so that a reversed filter shows.
Tensor taps() { return setup_filter(from_vector(std::vector<float>{1, 3, 2, 0.5f})); }

/// The steps one after the other, nothing joined.
Tensor step_by_step(const Tensor& x, const Tensor& w, const Tensor& f,
                    const Conv2dResampleOptions& o) {
  const int64_t n = f.defined() ? f.size(0) : 1, up = o.up, down = o.down;
  const auto floor_half = [](int64_t v) { return (v - (v % 2 + 2) % 2) / 2; };
  int64_t before = 0, after = 0;
  if (up > 1) before += floor_half(n + up - 1), after += floor_half(n - up);
  if (down > 1) before += floor_half(n - down + 1), after += floor_half(n - down);
  const ImagePad& p = o.padding;
  const Tensor large =
      upfirdn2d(x, up > 1 ? f : Tensor(),
                {.up = up,
                 .padding = {p.left + before, p.right + after, p.top + before, p.bottom + after},
                 .gain = static_cast<double>(up * up),
                 .flip_filter = o.flip_filter});
  const Tensor y = conv2d(large, o.flip_weight ? w : flip(w, {1, 2}), {}, {.groups = o.groups});
  return down > 1 ? upfirdn2d(y, f, {.down = down, .flip_filter = o.flip_filter}) : y;
}

Tensor slice64(const Array& x, int64_t n) {
  Shape shape = x.shape;
  shape[0] = 1;
  return Array::make(shape, [&](const Dims& i) { return x.at({n, i[1], i[2], i[3]}); }).tensor();
}

/// A filter of its own for each image.
Tensor modulated64(const Tensor& x, const Tensor& w, const Tensor& s, const Tensor& noise,
                   const ModulatedConv2dOptions& o) {
  const Array images(x), weight(w), style(s);
  std::vector<double> all;
  Shape shape;
  for (int64_t n = 0; n < x.size(0); ++n) {
    std::vector<double> length(static_cast<size_t>(w.size(0)), 1e-8);
    Array own(w.shape());
    Array::for_each(w.shape(), [&](const Dims& i) {
      own.at(i) = weight.at(i) * style.at({n, i[3]});
      length[static_cast<size_t>(i[0])] += own.at(i) * own.at(i);
    });
    if (o.demodulate)
      Array::for_each(w.shape(), [&](const Dims& i) {
        own.at(i) /= std::sqrt(length[static_cast<size_t>(i[0])]);
      });
    const Tensor y = step_by_step(
        slice64(images, n), own.tensor(), taps(),
        {.up = o.up, .down = o.down, .padding = o.padding, .flip_weight = o.flip_weight});
    const std::vector<double> v = y.to_vector<double>();
    all.insert(all.end(), v.begin(), v.end());
    shape = y.shape();
  }
  shape[0] = x.size(0);
  const Tensor y = from_vector(all, shape);
  return noise.defined() ? map64(y, noise, [](double a, double b) { return a + b; }) : y;
}

OpCase resample_case(const std::string& name, const Shape& x, const Shape& w, bool filter,
                     const Conv2dResampleOptions& o) {
  return {.name = cat("conv2d_resample_", name),
          .inputs = {{.shape = x}, {.shape = w}},
          .run =
              [=](const Tensors& in) {
                return Tensors{
                    conv2d_resample(in[0], in[1], filter ? beside(in[0], taps()) : Tensor(), o)};
              },
          .reference =
              [=](const Tensors& in) {
                return Tensors{step_by_step(in[0], in[1], filter ? taps() : Tensor(), o)};
              },
          .f32_tolerance = 8};
}

}  // namespace

TESSERA_OP_CASES(conv2d_resample) {
  struct Factors {
    int64_t up, down;
  };
  const Shape x{1, 4, 5, 2};
  for (const Factors& f :
       {Factors{1, 1}, Factors{2, 1}, Factors{1, 2}, Factors{2, 2}, Factors{3, 1}, Factors{1, 3}})
    for (int64_t k : {1, 3, 4})
      for (bool correlate : {true, false})
        for (int64_t groups : {1, 2}) {
          const int64_t side = k / 2;
          OpCase c = resample_case(
              cat("up", f.up, "_down", f.down, "_k", k, "_g", groups, correlate ? "" : "_flipped"),
              x, {4, k, k, 2 / groups}, true,
              {.up = f.up,
               .down = f.down,
               .padding = {side, side, side, side},
               .groups = groups,
               .flip_weight = correlate});
          if (k == 4 || groups == 2) c.order = 1;
          cases.add(c);
        }
  const ImagePad uneven{2, -1, 0, 3};
  for (const Factors& f : {Factors{1, 1}, Factors{2, 1}, Factors{1, 2}})
    cases.add(resample_case(cat("uneven_up", f.up, "_down", f.down), x, {3, 3, 2, 2}, true,
                            {.up = f.up, .down = f.down, .padding = uneven, .flip_filter = true}));
  cases.add(resample_case("no_filter", x, {3, 3, 3, 2}, false, {.up = 2, .padding = {1, 1, 1, 1}}));
  cases.add_error<ValueError>(
      "conv2d_resample_up",
      [] {
        conv2d_resample(zeros({1, 3, 3, 2}), zeros({2, 3, 3, 2}), {}, {.up = 0});
      },
      {"0"});
  cases.add_error<ShapeError>("conv2d_resample_rank",
                              [] {
                                conv2d_resample(zeros({3, 3, 2}), zeros({2, 3, 3, 2}), {});
                              },
                              {"[3, 3, 2]", "[2, 3, 3, 2]"});
}

TESSERA_OP_CASES(modulated_conv2d) {
  struct Row {
    int64_t up, down;
    bool demodulate, correlate, noise;
  };
  for (const Row& r : {Row{1, 1, true, true, true}, Row{2, 1, true, false, true},
                       Row{1, 1, false, true, false}, Row{1, 2, true, true, false}}) {
    ModulatedConv2dOptions o{.up = r.up,
                             .down = r.down,
                             .padding = {1, 1, 1, 1},
                             .demodulate = r.demodulate,
                             .flip_weight = r.correlate};
    const int64_t h = 4 * r.up / r.down, w = 6 * r.up / r.down;
    OpCase c{
        .name = cat("modulated_conv2d_up", r.up, "_down", r.down, r.demodulate ? "_demod" : ""),
        .inputs = {{.shape = {2, 4, 6, 3}}, {.shape = {4, 3, 3, 3}}, {.shape = {2, 3}}},
        .run =
            [=](const Tensors& in) {
              ModulatedConv2dOptions with = o;
              if (r.noise) with.noise = in[3];
              return Tensors{modulated_conv2d(in[0], in[1], in[2], beside(in[0], taps()), with)};
            },
        .reference =
            [=](const Tensors& in) {
              return Tensors{modulated64(in[0], in[1], in[2], r.noise ? in[3] : Tensor(), o)};
            },
        .f32_tolerance = 8};
    if (r.noise) c.inputs.push_back({.shape = {2, h, w, 1}});
    cases.add(c);
  }
  cases.add_error<ShapeError>(
      "modulated_conv2d_styles",
      [] {
        modulated_conv2d(zeros({2, 3, 3, 4}), zeros({5, 3, 3, 4}), zeros({2, 5}), {});
      },
      {"[2, 4]", "[2, 5]"});
}

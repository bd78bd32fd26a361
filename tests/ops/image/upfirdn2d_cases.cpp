#include "ops/image/upfirdn2d.h"

#include "tests/ops/array.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

/// The four steps of the definition, one after the other.
Tensor upfirdn64(const Tensor& x, const Tensor& filter, const Upfirdn2dOptions& o) {
  const Array in(x), f(filter);
  const ImagePad& p = o.padding;
  const int64_t n = x.size(0), channels = x.size(3);
  const int64_t height = x.size(1) * o.up.h + p.top + p.bottom;
  const int64_t width = x.size(2) * o.up.w + p.left + p.right;
  const Array padded = Array::make({n, height, width, channels}, [&](const Dims& i) {
    const int64_t h = i[1] - p.top, w = i[2] - p.left;
    const bool pixel = h >= 0 && w >= 0 && h < x.size(1) * o.up.h && w < x.size(2) * o.up.w &&
                       h % o.up.h == 0 && w % o.up.w == 0;
    return pixel ? in.at({i[0], h / o.up.h, w / o.up.w, i[3]}) : 0.0;
  });
  const int64_t kh = filter.size(0), kw = filter.size(1);
  return Array::make({n, (height - kh) / o.down.h + 1, (width - kw) / o.down.w + 1, channels},
                     [&](const Dims& i) {
                       double sum = 0;
                       for (int64_t a = 0; a < kh; ++a)
                         for (int64_t b = 0; b < kw; ++b)
                           sum += (o.flip_filter ? f.at({a, b}) : f.at({kh - 1 - a, kw - 1 - b})) *
                                  padded.at({i[0], i[1] * o.down.h + a, i[2] * o.down.w + b, i[3]});
                       return o.gain * sum;
                     })
      .tensor();
}

/// Taps without any symmetry, so that a reversed filter shows.
Tensor taps(const Shape& shape) {
  return from_vector(hash_uniform(cat("taps", shape), numel(shape), -1, 1), shape);
}

Tensor outer(const Tensor& f) {
  const Array one(f);
  return Array::make({f.numel(), f.numel()},
                     [&](const Dims& i) { return one.at({i[0]}) * one.at({i[1]}); })
      .tensor();
}

OpCase fir_case(const std::string& name, const Shape& shape, const Tensor& filter,
                const Upfirdn2dOptions& o) {
  return {
      .name = "upfirdn2d_" + name,
      .inputs = {{.shape = shape}},
      .run =
          [=](const Tensors& in) {
            return Tensors{upfirdn2d(in[0], filter.defined() ? beside(in[0], filter) : filter, o)};
          },
      .reference =
          [=](const Tensors& in) {
            const Tensor full = !filter.defined()    ? ones({1, 1})
                                : filter.rank() == 1 ? outer(filter)
                                                     : filter;
            return Tensors{upfirdn64(in[0], full, o)};
          },
      .f32_tolerance = 4};
}

}  // namespace

TESSERA_OP_CASES(upfirdn2d) {
  struct Lattice {
    Size2 up, down;
    ImagePad padding;
    bool flip;
  };
  const Lattice lattice[] = {{1, 1, {1, 2, 2, 1}, false},  {1, 1, {-1, 2, 3, -1}, true},
                             {2, 1, {2, 1, 2, 1}, false},  {1, 2, {1, 1, 1, 1}, true},
                             {2, 3, {3, -1, 0, 2}, true},  {{1, 2}, {2, 1}, {4, 0, 1, 3}, false},
                             {3, 2, {2, 2, -1, 4}, false}, {{5, 1}, {1, 4}, {3, 3, 0, 0}, true}};
  const Tensor filters[] = {taps({4, 4}), taps({3, 2}), taps({1, 1}), taps({5}), taps({2})};
  for (const Lattice& l : lattice)
    for (const Tensor& f : filters)
      for (const Shape& x : {Shape{2, 5, 6, 3}, Shape{1, 4, 7, 8}}) {
        const std::string name = cat(f.shape(), "_up", l.up, "_down", l.down, "_pad",
                                     l.padding.left, ",", l.padding.right, ",", l.padding.top, ",",
                                     l.padding.bottom, l.flip ? "_flip" : "", x);
        OpCase c = fir_case(name, x, f, {l.up, l.down, l.padding, 1.5, l.flip});
        if (x[3] == 8) c.order = 0;  // for the vectors of the kernels; the calculus is the same
        cases.add(c);
      }
  cases.add(
      fir_case("no_filter", {2, 3, 4, 2}, {}, {.up = 2, .padding = {1, 0, 0, 1}, .gain = -2}));
  cases.add(fir_case("negative_gain_separable", {1, 3, 4, 2}, taps({3}),
                     {.padding = {1, 1, 1, 1}, .gain = -2}));
  cases.add(fir_case("large", {1, 6, 5, 2}, taps({12}), {2, 2, {6, 5, 6, 5}, 1.5, true}));
  cases.add(fir_case("no_images", {0, 3, 4, 2}, taps({2, 2}), {}));
  cases.add(fir_case("no_channels", {1, 3, 4, 0}, taps({2, 2}), {}));
  cases.add(fir_case("one_pixel", {1, 1, 1, 1}, taps({3, 3}), {.padding = {1, 1, 1, 1}}));
  cases.add(fir_case("fits_once", {1, 3, 2, 4}, taps({3, 2}), {.down = 2}));
  cases.add(fir_case("padding_alone", {1, 1, 1, 2}, taps({2, 2}), {.padding = {-1, 4, 6, -1}}));

  const auto x = [] { return zeros({1, 3, 4, 2}); };
  cases.add_error<ShapeError>("upfirdn2d_rank", [] { upfirdn2d(zeros({3, 4}), {}); }, {"[3, 4]"});
  cases.add_error<ShapeError>("upfirdn2d_no_pixels",
                              [] {
                                upfirdn2d(zeros({1, 0, 4, 2}), {});
                              },
                              {"[1, 0, 4, 2]"});
  cases.add_error<ShapeError>("upfirdn2d_filter_rank",
                              [=] {
                                upfirdn2d(x(), zeros({1, 2, 2}));
                              },
                              {"[1, 2, 2]"});
  cases.add_error<ShapeError>("upfirdn2d_too_large",
                              [=] {
                                upfirdn2d(x(), zeros({4, 4}));
                              },
                              {"(4, 4)", "[1, 3, 4, 2]", "3 x 4"});
  cases.add_error<ValueError>("upfirdn2d_up",
                              [=] {
                                upfirdn2d(x(), {}, {.up = {1, 0}});
                              },
                              {"(1, 0)"});
  cases.add_error<ValueError>("upfirdn2d_padding",
                              [=] { upfirdn2d(x(), {}, {.padding = {.top = int64_t{1} << 40}}); },
                              {"1099511627776"});
  cases.add_error<DTypeError>("upfirdn2d_dtype",
                              [] {
                                upfirdn2d(zeros({1, 3, 4, 2}, DType::u8), {});
                              },
                              {"u8"});
  cases.add_error<DTypeError>("upfirdn2d_filter_dtype",
                              [=] {
                                upfirdn2d(x(), zeros({2, 2}, DType::f64));
                              },
                              {"f64"});
  cases.add_error<ShapeError>("setup_filter_rank",
                              [] {
                                setup_filter(zeros({1, 1, 1}));
                              },
                              {"[1, 1, 1]"});
  cases.add_error<ValueError>("setup_filter_separable",
                              [] {
                                setup_filter(ones({2, 2}), {.separable = true});
                              },
                              {"[2, 2]"});
}

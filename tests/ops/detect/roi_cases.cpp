#include <cmath>

#include "ops/detect/roi_align.h"
#include "ops/detect/roi_pool.h"
#include "tests/ops/array.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

double bilinear(const Array& f, int64_t n, double y, double x, int64_t c) {
  const int64_t height = f.shape[1], width = f.shape[2];
  if (y < -1 || y > double(height) || x < -1 || x > double(width)) return 0;
  y = std::min(std::max(y, 0.0), double(height - 1));
  x = std::min(std::max(x, 0.0), double(width - 1));
  const auto h = static_cast<int64_t>(y), w = static_cast<int64_t>(x);
  const int64_t h2 = std::min(h + 1, height - 1), w2 = std::min(w + 1, width - 1);
  const double ty = y - double(h), tx = x - double(w);
  return (1 - ty) * ((1 - tx) * f.at({n, h, w, c}) + tx * f.at({n, h, w2, c})) +
         ty * ((1 - tx) * f.at({n, h2, w, c}) + tx * f.at({n, h2, w2, c}));
}

Tensor roi_align64(const Tensor& feature, const Tensor& rois, const RoiAlignOptions& o) {
  const Array f(feature), box(rois);
  return Array::make(
             {rois.size(0), o.output_h, o.output_w, feature.size(3)},
             [&](const Dims& i) {
               const auto side = [&](int low, int64_t bins, double& start, double& size) {
                 const double shift = o.aligned ? 0.5 : 0.0;
                 start = box.at({i[0], low}) * o.spatial_scale - shift;
                 size = box.at({i[0], low + 2}) * o.spatial_scale - shift - start;
                 if (!o.aligned) size = std::max(size, 1.0);
                 const double per_bin = size / double(bins);
                 return o.sampling_ratio > 0 ? o.sampling_ratio
                                             : static_cast<int64_t>(std::ceil(per_bin));
               };
               double x1, y1, w, h, sum = 0;
               const int64_t nw = side(1, o.output_w, x1, w), nh = side(2, o.output_h, y1, h);
               const double bin_h = h / double(o.output_h), bin_w = w / double(o.output_w);
               for (int64_t a = 0; a < nh; ++a)
                 for (int64_t b = 0; b < nw; ++b)
                   sum += bilinear(
                       f, static_cast<int64_t>(box.at({i[0], 0})),
                       y1 + double(i[1]) * bin_h + (double(a) + 0.5) * bin_h / double(nh),
                       x1 + double(i[2]) * bin_w + (double(b) + 0.5) * bin_w / double(nw), i[3]);
               return sum / double(std::max<int64_t>(nh * nw, 1));
             })
      .tensor();
}

Tensor roi_pool64(const Tensor& feature, const Tensor& rois, int64_t out_h, int64_t out_w,
                  double scale) {
  const Array f(feature), box(rois);
  return Array::make(
             {rois.size(0), out_h, out_w, feature.size(3)},
             [&](const Dims& i) {
               const auto span = [&](int low, int64_t b, int64_t bins, int64_t size, int64_t& first,
                                     int64_t& last) {
                 const double start = std::round(box.at({i[0], low}) * scale);
                 const double end = std::round(box.at({i[0], low + 2}) * scale);
                 const double bin = std::max(end - start + 1, 1.0) / double(bins);
                 const auto cut = [&](double v) {
                   return static_cast<int64_t>(std::min(std::max(v, 0.0), double(size)));
                 };
                 first = cut(std::floor(double(b) * bin) + start);
                 last = cut(std::ceil(double(b + 1) * bin) + start);
               };
               int64_t h0, h1, w0, w1;
               span(2, i[1], out_h, f.shape[1], h0, h1);
               span(1, i[2], out_w, f.shape[2], w0, w1);
               double best = 0;
               bool found = false;
               for (int64_t h = h0; h < h1; ++h)
                 for (int64_t w = w0; w < w1; ++w) {
                   const double v = f.at({static_cast<int64_t>(box.at({i[0], 0})), h, w, i[3]});
                   if (!found || v > best) best = v;
                   found = true;
                 }
               return best;
             })
      .tensor();
}

/// Inside, partly outside, tiny, larger than the image, inverted. Exact in f32.
OpInput boxes() {
  OpInput in{.shape = {6, 5}, .differentiable = false};
  in.values = {0, 1.25, 2.25, 9.75, 11.5, 1, -3,    0.5,  5.25,  4.75, 0, 8,   8, 8.375, 8.125,
               1, 4,    3,    30,   28,   0, 0.125, 0.25, 14.75, 13.5, 1, 9.5, 9, 3.25,  2.5};
  return in;
}

}  // namespace

TESSERA_OP_CASES(roi_align) {
  for (bool aligned : {true, false})
    for (int64_t ratio : {0, 1, 2, 3})
      for (double scale : {1.0, 0.5, 0.25}) {
        const RoiAlignOptions o{.output_h = 2,
                                .output_w = 3,
                                .spatial_scale = scale,
                                .sampling_ratio = ratio,
                                .aligned = aligned};
        const bool gradients = scale == 0.5 || ratio == 0;
        cases.add(
            {.name = cat("roi_align_", aligned, ratio, "_", scale),
             .inputs = {{.shape = {2, 5, 7, 2}}, boxes()},
             .run = [=](const Tensors& in) { return Tensors{roi_align(in[0], in[1], o)}; },
             .reference = [=](const Tensors& in) { return Tensors{roi_align64(in[0], in[1], o)}; },
             .order = gradients ? 2 : 0});
      }
  // Vector lengths that leave a tail, and no boxes at all.
  for (int64_t channels : {1, 9, 21})
    cases.add(
        {.name = cat("roi_align_channels_", channels),
         .inputs = {{.shape = {2, 6, 6, channels}}, boxes()},
         .run = [](const Tensors& in) { return Tensors{roi_align(in[0], in[1])}; },
         .reference = [](const Tensors& in) { return Tensors{roi_align64(in[0], in[1], {})}; },
         .order = 0});
  cases.add({.name = "roi_align_no_boxes",
             .inputs = {{.shape = {1, 3, 3, 2}}, {.shape = {0, 5}, .differentiable = false}},
             .run = [](const Tensors& in) { return Tensors{roi_align(in[0], in[1])}; },
             .reference =
                 [](const Tensors&) {
                   return Tensors{zeros({0, 7, 7, 2}, DType::f64)};
                 }});
  const auto f = [] { return zeros({2, 4, 4, 1}); };
  const auto box = [](std::vector<float> v) { return from_vector(v, {1, 5}); };
  cases.add_error<ShapeError>("roi_align_rois",
                              [=] {
                                roi_align(f(), zeros({3, 4}));
                              },
                              {"[2, 4, 4, 1]", "[3, 4]"});
  cases.add_error<ValueError>("roi_align_batch",
                              [=] {
                                roi_align(f(), box({2, 0, 0, 1, 1}));
                              },
                              {"2", "[0, 2)"});
  cases.add_error<ValueError>("roi_align_nan",
                              [=] {
                                roi_align(f(), box({0, 0, NAN, 1, 1}));
                              },
                              {"nan", "roi 0"});
  cases.add_error<ValueError>("roi_align_far",
                              [=] {
                                roi_align(f(), box({0, 0, 0, 1e30f, 1}));
                              },
                              {"coordinate"});
  cases.add_error<ValueError>("roi_align_output",
                              [=] {
                                roi_align(f(), box({0, 0, 0, 1, 1}), {.output_h = 0});
                              },
                              {"0 x 7"});
  cases.add_error<ValueError>("roi_align_scale",
                              [=] {
                                roi_align(f(), box({0, 0, 0, 1, 1}), {.spatial_scale = 0});
                              },
                              {"spatial_scale"});
  cases.add_error<DTypeError>("roi_align_dtypes",
                              [=] {
                                roi_align(f(), zeros({1, 5}, DType::f64));
                              },
                              {"f32", "f64"});
}

TESSERA_OP_CASES(roi_pool) {
  for (double scale : {1.0, 0.5})
    for (int64_t channels : {1, 3, 10})
      cases.add(
          {.name = cat("roi_pool_", scale, "_", channels),
           .inputs = {{.shape = {2, 6, 7, channels}}, boxes()},
           .run = [=](const Tensors& in) { return Tensors{roi_pool(in[0], in[1], 3, 2, scale)}; },
           .reference =
               [=](const Tensors& in) { return Tensors{roi_pool64(in[0], in[1], 3, 2, scale)}; },
           .order = channels < 10 ? 2 : 0});
  cases.add_error<ValueError>(
      "roi_pool_batch",
      [] {
        roi_pool(zeros({1, 4, 4, 1}), from_vector<float>({-1, 0, 0, 1, 1}, {1, 5}), 2, 2);
      },
      {"roi_pool", "-1", "[0, 1)"});
  cases.add_error<ShapeError>("roi_pool_no_pixels",
                              [] {
                                roi_pool(zeros({1, 0, 4, 1}), zeros({1, 5}), 2, 2);
                              },
                              {"[1, 0, 4, 1]"});
}

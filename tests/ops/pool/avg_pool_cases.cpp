#include "ops/pool/adaptive_pool.h"
#include "ops/pool/avg_pool.h"
#include "tests/ops/pool/pool_reference.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

double total(const std::vector<double>& window) {
  double s = 0;
  for (double v : window) s += v;
  return s;
}

// Pixels of window o along one axis that count: those of the input, or those of the padded input.
int64_t counted(int64_t in, int64_t kernel, int64_t stride, int64_t padding, int64_t o,
                bool with_padding) {
  int64_t count = 0;
  for (int64_t k = 0; k < kernel; ++k) {
    const int64_t at = o * stride - padding + k;
    const int64_t border = with_padding ? padding : 0;
    if (at >= -border && at < in + border) ++count;
  }
  return count;
}

void add_avg(OpCaseList& cases, const std::string& name, const Shape& shape,
             const AvgPool2dOptions& o) {
  cases.add({.name = name,
             .inputs = {{.shape = shape}},
             .run = [o](const Tensors& in) { return Tensors{avg_pool2d(in[0], o)}; },
             .reference =
                 [o](const Tensors& in) {
                   const Size2 s = stride_or_kernel(o.stride, o.kernel);
                   const int64_t height = in[0].size(1), width = in[0].size(2);
                   auto mean = [=](const std::vector<double>& window, int64_t i, int64_t j) {
                     const int64_t count =
                         counted(height, o.kernel.h, s.h, o.padding.h, i, o.count_include_pad) *
                         counted(width, o.kernel.w, s.w, o.padding.w, j, o.count_include_pad);
                     return total(window) /
                            static_cast<double>(o.divisor_override ? o.divisor_override : count);
                   };
                   return Tensors{pool64(
                       in[0], regular_taps(height, o.kernel.h, s.h, o.padding.h, 1, o.ceil_mode),
                       regular_taps(width, o.kernel.w, s.w, o.padding.w, 1, o.ceil_mode), mean)};
                 },
             .bytes = 4 * numel(shape)});
}

}  // namespace

TESSERA_OP_CASES(avg_pool2d) {
  int i = 0;
  for (const Shape& shape : {Shape{2, 7, 6, 3}, Shape{1, 5, 8, 17}})
    for (int64_t kernel : {2, 3})
      for (int64_t stride : {1, 2, 3})
        for (int64_t padding : {0, 1})
          for (bool ceil_mode : {false, true})
            for (bool include : {false, true})
              add_avg(cases, cat("avg_pool2d_", i++), shape,
                      {.kernel = kernel,
                       .stride = stride,
                       .padding = padding,
                       .ceil_mode = ceil_mode,
                       .count_include_pad = include});
  add_avg(cases, "avg_pool2d_rectangle", {2, 7, 9, 4},
          {.kernel = {2, 3}, .stride = {1, 2}, .padding = {0, 1}});
  add_avg(cases, "avg_pool2d_divisor", {2, 5, 5, 3},
          {.kernel = 3, .stride = 2, .padding = 1, .divisor_override = 5});
  add_avg(cases, "avg_pool2d_wide", {1, 11, 13, 3}, {.kernel = {10, 11}, .stride = 1});
  for (bool include : {false, true})
    add_avg(cases, cat("avg_pool2d_small_ceil_", include), {1, 2, 1, 2},
            {.kernel = {3, 4},
             .stride = {2, 3},
             .padding = {0, 1},
             .ceil_mode = true,
             .count_include_pad = include});
  add_avg(cases, "avg_pool2d_one_pixel", {1, 1, 1, 3}, {.kernel = 1});
  add_avg(cases, "avg_pool2d_empty_batch", {0, 4, 4, 3}, {.kernel = 2});

  const std::pair<Shape, Size2> bins[] = {
      {{2, 7, 9, 5}, 1},      {{1, 10, 13, 3}, 7}, {{2, 24, 8, 3}, {6, 1}}, {{1, 3, 3, 2}, 7},
      {{2, 4, 5, 3}, {4, 5}}, {{1, 5, 1, 3}, 2},   {{3, 2, 3, 200}, 1},     {{0, 4, 4, 3}, 2}};
  for (const auto& [shape, out] : bins)
    cases.add(
        {.name = cat("adaptive_avg_pool2d_", shape, "_to_", out.h, "x", out.w),
         .inputs = {{.shape = shape}},
         .run = [out = out](const Tensors& in) { return Tensors{adaptive_avg_pool2d(in[0], out)}; },
         .reference =
             [out = out](const Tensors& in) {
               return Tensors{pool64(in[0], bin_taps(in[0].size(1), out.h),
                                     bin_taps(in[0].size(2), out.w),
                                     [](const std::vector<double>& window, int64_t, int64_t) {
                                       return total(window) / static_cast<double>(window.size());
                                     })};
             }});
  cases.add_error<ShapeError>("avg_pool2d_window_too_large",
                              [] {
                                avg_pool2d(zeros({1, 4, 2, 3}), {.kernel = 3});
                              },
                              {"avg_pool2d", "[1, 4, 2, 3]"});
  cases.add_error<ValueError>(
      "avg_pool2d_divisor",
      [] {
        avg_pool2d(zeros({1, 4, 4, 3}), {.kernel = 2, .divisor_override = -1});
      },
      {"avg_pool2d", "divisor_override", "-1"});
  cases.add_error<ShapeError>("adaptive_avg_pool2d_no_pixels",
                              [] {
                                adaptive_avg_pool2d(zeros({1, 0, 4, 3}), 1);
                              },
                              {"adaptive_avg_pool2d", "[1, 0, 4, 3]"});
}

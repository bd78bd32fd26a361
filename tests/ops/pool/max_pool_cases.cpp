#include <cmath>
#include <limits>

#include "ops/pool/adaptive_pool.h"
#include "ops/pool/max_pool.h"
#include "tests/ops/pool/pool_reference.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

double maximum(const std::vector<double>& window, int64_t, int64_t) {
  double best = -std::numeric_limits<double>::infinity();
  for (double v : window) best = std::isnan(v) || v > best ? v : best;
  return best;
}

void add_max(OpCaseList& cases, const std::string& name, const OpInput& x,
             const MaxPool2dOptions& o, int order = 2) {
  cases.add({.name = name,
             .inputs = {x},
             .run = [o](const Tensors& in) { return Tensors{max_pool2d(in[0], o)}; },
             .reference =
                 [o](const Tensors& in) {
                   const Size2 s = stride_or_kernel(o.stride, o.kernel);
                   return Tensors{pool64(in[0],
                                         regular_taps(in[0].size(1), o.kernel.h, s.h, o.padding.h,
                                                      o.dilation.h, o.ceil_mode),
                                         regular_taps(in[0].size(2), o.kernel.w, s.w, o.padding.w,
                                                      o.dilation.w, o.ceil_mode),
                                         maximum)};
                 },
             .order = order,
             .bytes = 4 * numel(x.shape)});
}

}  // namespace

TESSERA_OP_CASES(max_pool2d) {
  int i = 0;
  for (const Shape& shape : {Shape{2, 7, 6, 3}, Shape{1, 5, 9, 17}, Shape{3, 8, 8, 1}})
    for (int64_t kernel : {2, 3})
      for (int64_t stride : {1, 2, 3})
        for (int64_t padding : {0, 1})
          for (bool ceil_mode : {false, true})
            add_max(
                cases, cat("max_pool2d_", i++), {.shape = shape},
                {.kernel = kernel, .stride = stride, .padding = padding, .ceil_mode = ceil_mode});
  add_max(cases, "max_pool2d_rectangle", {.shape = {2, 7, 9, 4}},
          {.kernel = {2, 3}, .stride = {1, 2}, .padding = {1, 0}});
  add_max(cases, "max_pool2d_dilated", {.shape = {2, 9, 8, 3}},
          {.kernel = 3, .stride = 2, .padding = 2, .dilation = 2});
  add_max(cases, "max_pool2d_dilated_ceil", {.shape = {1, 10, 7, 3}},
          {.kernel = {2, 3}, .stride = 2, .padding = 1, .dilation = {3, 2}, .ceil_mode = true});
  add_max(cases, "max_pool2d_wide", {.shape = {1, 9, 9, 2}},
          {.kernel = 5, .stride = 1, .padding = 2});
  for (int64_t channels : {64, 83, 131})  // several vectors, and what they leave over
    add_max(cases, cat("max_pool2d_channels", channels), {.shape = {1, 5, 4, channels}},
            {.kernel = 3, .stride = 2, .padding = 1});
  add_max(cases, "max_pool2d_whole", {.shape = {2, 4, 4, 5}}, {.kernel = 4});
  add_max(cases, "max_pool2d_one_pixel", {.shape = {1, 1, 1, 3}}, {.kernel = 3, .padding = 1});
  add_max(cases, "max_pool2d_gaps", {.shape = {1, 1, 1, 2}},
          {.kernel = 2, .padding = 1, .dilation = 2}, 0);  // every tap lies in the padding
  // Larger than the image: one window that hangs over its end.
  add_max(cases, "max_pool2d_small_ceil", {.shape = {1, 2, 3, 2}},
          {.kernel = {3, 4}, .stride = 2, .ceil_mode = true});
  add_max(cases, "max_pool2d_empty_batch", {.shape = {0, 4, 4, 3}}, {.kernel = 2});
  add_max(cases, "max_pool2d_no_channels", {.shape = {2, 4, 4, 0}}, {.kernel = 2});
  const double nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
  add_max(cases, "max_pool2d_nan",
          {.shape = {1, 2, 4, 1}, .values = {1, nan, -inf, 3, 4, 2, -inf, inf}}, {.kernel = 2}, 0);
  add_max(cases, "max_pool2d_infinite",
          {.shape = {1, 2, 4, 1}, .values = {-inf, -inf, -inf, 3, -inf, -inf, -inf, inf}},
          {.kernel = 2}, 0);

  cases.add({.name = "max_pool2d_first_maximum_wins",
             .inputs = {{.shape = {1, 2, 4, 1}, .values = {5, 5, 0, 1, 5, 5, 1, 1}}},
             .run =
                 [](const Tensors& in) {
                   auto [y, index] = max_pool2d_with_indices(in[0], {.kernel = 2});
                   return Tensors{y, index};
                 },
             .reference =
                 [](const Tensors&) {
                   return Tensors{from_vector<double>({5, 1}, {1, 1, 2, 1}),
                                  from_vector<int32_t>({0, 3}, {1, 1, 2, 1})};
                 },
             .order = 0});

  for (int64_t out : {1, 2, 3, 5, 7})
    cases.add({.name = cat("adaptive_max_pool2d_", out),
               .inputs = {{.shape = {2, 5, 7, 3}}},
               .run =
                   [out](const Tensors& in) {
                     return Tensors{adaptive_max_pool2d(in[0], {out, out + 1})};
                   },
               .reference =
                   [out](const Tensors& in) {
                     return Tensors{pool64(in[0], bin_taps(5, out), bin_taps(7, out + 1), maximum)};
                   }});

  cases.add_error<ShapeError>("max_pool2d_rank",
                              [] {
                                max_pool2d(zeros({4, 4, 3}), {.kernel = 2});
                              },
                              {"max_pool2d", "[4, 4, 3]"});
  cases.add_error<ShapeError>("max_pool2d_window_too_large",
                              [] {
                                max_pool2d(zeros({1, 4, 2, 3}), {.kernel = 3});
                              },
                              {"max_pool2d", "[1, 4, 2, 3]", "extent 3"});
  cases.add_error<ShapeError>(
      "max_pool2d_window_too_large_to_hang_over",
      [] {
        max_pool2d(zeros({1, 1, 1, 3}), {.kernel = 4, .stride = 2, .ceil_mode = true});
      },
      {"max_pool2d", "[1, 1, 1, 3]", "extent 4"});
  cases.add_error<ValueError>(
      "max_pool2d_huge_dilation",
      [] {
        max_pool2d(zeros({1, 4, 4, 3}), {.kernel = 3, .dilation = int64_t{1} << 62});
      },
      {"max_pool2d", "dilation", "2^31"});
  cases.add_error<ValueError>("max_pool2d_padding",
                              [] {
                                max_pool2d(zeros({1, 4, 4, 3}), {.kernel = 3, .padding = 2});
                              },
                              {"max_pool2d", "padding 2"});
  cases.add_error<ValueError>("max_pool2d_stride",
                              [] {
                                max_pool2d(zeros({1, 4, 4, 3}), {.kernel = 2, .stride = -1});
                              },
                              {"max_pool2d", "stride"});
  cases.add_error<DTypeError>("max_pool2d_integer",
                              [] {
                                max_pool2d(zeros({1, 4, 4, 3}, DType::i32), {.kernel = 2});
                              },
                              {"max_pool2d", "i32"});
  cases.add_error<ValueError>("adaptive_max_pool2d_output",
                              [] {
                                adaptive_max_pool2d(zeros({1, 4, 4, 3}), 0);
                              },
                              {"adaptive_max_pool2d", "0 x 0"});
}

#include "ops/conv/conv2d.h"

#include "tests/ops/conv/conv_reference.h"
#include "tests/ops/op_case.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

std::string label(const Shape& x, const Shape& w, const Conv2dOptions& o) {
  return cat(x, w, "_s", o.stride, "_p", o.padding, "_d", o.dilation, "_g", o.groups);
}

void add_conv(OpCaseList& cases, const Shape& x, const Shape& w, const Conv2dOptions& o, bool bias,
              int order) {
  const Shape y = conv_output_shape(x, w, o);
  OpCase c{
      .name = cat("conv2d", label(x, w, o), bias ? "_bias" : ""),
      .inputs = {{.shape = x}, {.shape = w}},
      .run =
          [o](const Tensors& in) {
            return Tensors{conv2d(in[0], in[1], in.size() > 2 ? in[2] : Tensor(), o)};
          },
      .reference =
          [o](const Tensors& in) {
            return Tensors{reference_conv2d(in[0], in[1], in.size() > 2 ? in[2] : Tensor(), o)};
          },
      .order = order,
      .bytes = 4 * (numel(x) + numel(w) + numel(y)),
      .flops = conv_flops(w, y)};
  if (bias) c.inputs.push_back({.shape = {w[0]}});
  cases.add(std::move(c));
}

}  // namespace

// Every combination of grouping, stride, padding and dilation, small enough for both gradient
// suites.
TESSERA_OP_CASES(conv2d_lattice) {
  const Shape x{1, 6, 5, 4};
  struct Grouping {
    int64_t groups, outputs;
  };
  for (const Grouping g : {Grouping{1, 3}, {2, 6}, {4, 4}, {4, 8}})
    for (const int64_t stride : {1, 2})
      for (const int64_t padding : {0, 1})
        for (const int64_t dilation : {1, 2})
          add_conv(cases, x, {g.outputs, 3, 3, 4 / g.groups},
                   {.stride = stride, .padding = padding, .dilation = dilation, .groups = g.groups},
                   padding == 1, 2);
}

TESSERA_OP_CASES(conv2d_shapes) {
  const auto add = [&](const Shape& x, const Shape& w, Conv2dOptions o, bool bias = false,
                       int order = 2) { add_conv(cases, x, w, o, bias, order); };
  // Filters of one pixel, rectangular ones, sizes and steps that differ by axis.
  add({2, 3, 5, 7}, {4, 1, 1, 7}, {}, true);
  add({2, 4, 5, 6}, {5, 1, 1, 6}, {.stride = 2});
  add({1, 5, 8, 3}, {2, 1, 7, 3}, {.padding = {0, 3}}, true);
  add({1, 8, 5, 3}, {2, 7, 1, 3}, {.padding = {3, 0}});
  add({1, 7, 6, 4}, {4, 2, 3, 2}, {.stride = {2, 1}, .padding = {1, 2}, .groups = 2}, true);
  add({1, 7, 6, 3}, {3, 3, 2, 1}, {.stride = {1, 3}, .padding = {2, 1}, .groups = 3}, true);
  add({1, 7, 9, 2}, {3, 2, 3, 2}, {.stride = {2, 3}, .dilation = {3, 2}});
  // The filter covers the whole image; windows that lie in the padding alone; rows never read.
  add({2, 4, 4, 3}, {2, 4, 4, 3}, {}, true);
  add({1, 1, 1, 1}, {3, 3, 3, 1}, {.padding = 1}, true);
  add({1, 2, 2, 2}, {2, 1, 1, 2}, {.padding = 2}, true);
  add({1, 2, 2, 2}, {2, 1, 1, 1}, {.stride = 3, .padding = 2, .groups = 2}, true);
  add({1, 6, 6, 2}, {2, 1, 1, 2}, {.stride = 4});
  add({1, 7, 7, 2}, {2, 2, 2, 1}, {.stride = 4, .groups = 2});
  // Nothing to do.
  add({0, 5, 5, 4}, {3, 3, 3, 4}, {.padding = 1}, true);
  add({0, 5, 5, 4}, {4, 3, 3, 1}, {.padding = 1, .groups = 4});
  add({2, 5, 5, 4}, {0, 3, 3, 4}, {});
  add({1, 3, 3, 0}, {2, 3, 3, 0}, {.padding = 1}, true);
  // Vector lengths, their remainders and more than one block of the matrix product.
  add({2, 9, 11, 19}, {37, 3, 3, 19}, {.padding = 1}, true, 0);
  add({1, 30, 31, 3}, {16, 7, 7, 3}, {.stride = 2, .padding = 3}, false, 0);
  add({2, 14, 13, 32}, {64, 3, 3, 32}, {.stride = 2, .padding = 1}, true, 0);
  add({1, 13, 14, 160}, {208, 1, 1, 160}, {}, true, 0);
  add({1, 9, 9, 48}, {96, 3, 3, 3}, {.stride = 2, .padding = 1, .groups = 16}, true, 0);
  add({1, 9, 9, 15}, {10, 3, 3, 3}, {.padding = 2, .dilation = 2, .groups = 5}, true, 0);
  add({2, 11, 17, 72}, {72, 3, 3, 1}, {.padding = 1, .groups = 72}, true, 0);
  add({2, 13, 12, 41}, {41, 5, 5, 1}, {.stride = 2, .padding = 2, .groups = 41}, false, 0);
  add({1, 9, 14, 24}, {72, 3, 3, 1}, {.padding = 2, .dilation = 2, .groups = 24}, true, 0);
}

TESSERA_OP_CASES(conv2d_gradients) {
  struct Case {
    Shape x, w;
    Conv2dOptions options;
  };
  const Case list[] = {
      {{1, 5, 6, 3}, {2, 3, 3, 3}, {.padding = 1}},
      {{2, 6, 5, 4}, {6, 3, 2, 2}, {.stride = 2, .padding = 1, .groups = 2}},
      {{1, 7, 6, 3}, {3, 3, 3, 1}, {.stride = {2, 1}, .padding = 1, .groups = 3}},
      {{1, 8, 7, 2}, {4, 2, 3, 1}, {.stride = 3, .padding = 2, .dilation = 2, .groups = 2}},
      {{0, 5, 5, 3}, {2, 3, 3, 3}, {}},
  };
  for (const Case& c : list) {
    const Shape y = conv_output_shape(c.x, c.w, c.options);
    cases.add({.name = "conv2d_input_grad" + label(c.x, c.w, c.options),
               .inputs = {{.shape = y}, {.shape = c.w}},
               .run =
                   [c](const Tensors& in) {
                     return Tensors{conv2d_input_grad(in[0], in[1], c.x, c.options)};
                   },
               .reference =
                   [c](const Tensors& in) {
                     return Tensors{reference_input_grad(in[0], in[1], c.x, c.options)};
                   },
               .flops = conv_flops(c.w, y)});
    cases.add({.name = "conv2d_weight_grad" + label(c.x, c.w, c.options),
               .inputs = {{.shape = y}, {.shape = c.x}},
               .run =
                   [c](const Tensors& in) {
                     return Tensors{conv2d_weight_grad(in[0], in[1], c.w, c.options)};
                   },
               .reference =
                   [c](const Tensors& in) {
                     return Tensors{reference_weight_grad(in[0], in[1], c.w, c.options)};
                   },
               .flops = conv_flops(c.w, y)});
  }
}

// The reference adds every product where the definition of a transposed convolution puts it.
TESSERA_OP_CASES(conv_transpose2d) {
  struct Case {
    Shape x, w;
    ConvTranspose2dOptions options;
    bool bias;
  };
  const Case list[] = {
      {{2, 3, 4, 3}, {3, 2, 2, 4}, {.stride = 2}, true},
      {{1, 4, 3, 2}, {2, 4, 4, 3}, {.stride = 2, .padding = 1}, true},
      {{1, 3, 4, 2}, {2, 3, 3, 3}, {.stride = 2, .padding = 1, .output_padding = 1}, false},
      {{1, 3, 3, 6}, {6, 3, 3, 2}, {.stride = 2, .groups = 3}, true},
      {{1, 3, 4, 4}, {4, 3, 3, 1}, {.stride = {2, 1}, .padding = 1, .groups = 4}, true},
      {{1, 4, 3, 2}, {2, 3, 2, 3}, {.padding = {2, 1}, .dilation = {2, 1}}, false},
      {{1, 3, 3, 2},
       {2, 3, 2, 1},
       {.stride = 3, .padding = 1, .output_padding = {2, 1}, .dilation = 2, .groups = 2},
       true},
      {{0, 3, 3, 2}, {2, 2, 2, 3}, {.stride = 2}, false},
  };
  for (const Case& c : list) {
    const ConvTranspose2dOptions o = c.options;
    OpCase op{
        .name = cat("conv_transpose2d", c.x, c.w, "_s", o.stride, "_p", o.padding, "_op",
                    o.output_padding, "_d", o.dilation, "_g", o.groups),
        .inputs = {{.shape = c.x}, {.shape = c.w}},
        .run =
            [o](const Tensors& in) {
              return Tensors{conv_transpose2d(in[0], in[1], in.size() > 2 ? in[2] : Tensor(), o)};
            },
        .reference =
            [c, o](const Tensors& in) {
              const int64_t og = c.w[3], ig = c.x[3] / o.groups;
              const int64_t height = (c.x[1] - 1) * o.stride.h - 2 * o.padding.h +
                                     o.dilation.h * (c.w[1] - 1) + o.output_padding.h + 1;
              const int64_t width = (c.x[2] - 1) * o.stride.w - 2 * o.padding.w +
                                    o.dilation.w * (c.w[2] - 1) + o.output_padding.w + 1;
              const Shape shape{c.x[0], height, width, og * o.groups};
              const std::vector<double> x = in[0].to_vector<double>(),
                                        w = in[1].to_vector<double>();
              std::vector<double> y(static_cast<size_t>(numel(shape)));
              for (size_t i = 0; in.size() > 2 && i < y.size(); ++i)
                y[i] = in[2].to_vector<double>()[i % static_cast<size_t>(shape[3])];
              size_t at = 0;
              for (int64_t n = 0; n < c.x[0]; ++n)
                for (int64_t h = 0; h < c.x[1]; ++h)
                  for (int64_t v = 0; v < c.x[2]; ++v)
                    for (int64_t i = 0; i < c.x[3]; ++i, ++at)
                      for (int64_t kh = 0; kh < c.w[1]; ++kh)
                        for (int64_t kw = 0; kw < c.w[2]; ++kw)
                          for (int64_t f = 0; f < og; ++f) {
                            const int64_t row = h * o.stride.h - o.padding.h + kh * o.dilation.h;
                            const int64_t col = v * o.stride.w - o.padding.w + kw * o.dilation.w;
                            if (row < 0 || row >= height || col < 0 || col >= width) continue;
                            const int64_t yi =
                                ((n * height + row) * width + col) * shape[3] + i / ig * og + f;
                            const int64_t wi = ((i * c.w[1] + kh) * c.w[2] + kw) * og + f;
                            y[static_cast<size_t>(yi)] += x[at] * w[static_cast<size_t>(wi)];
                          }
              return Tensors{from_vector(y, shape)};
            }};
    if (c.bias) op.inputs.push_back({.shape = {c.w[3] * o.groups}});
    cases.add(std::move(op));
  }
}

TESSERA_OP_CASES(conv2d_errors) {
  const auto fails = [&]<class Kind>(const char* name, Shape x, Shape w, Conv2dOptions o,
                                     std::vector<std::string> parts) {
    cases.add_error<Kind>(
        name, [=] { conv2d(zeros(x), zeros(w), {}, o); }, std::move(parts));
  };
  fails.operator()<ShapeError>(
      "conv2d_channels", {8, 5, 5, 32}, {4, 3, 3, 64}, {},
      {"conv2d", "[4, 3, 3, 64]", "groups=1", "expects 64 input channels", "[8, 5, 5, 32]"});
  fails.operator()<ShapeError>("conv2d_group_channels", {1, 5, 5, 6}, {4, 3, 3, 6}, {.groups = 2},
                               {"expects 12 input channels", "[1, 5, 5, 6]"});
  fails.operator()<ShapeError>("conv2d_group_outputs", {1, 5, 5, 6}, {3, 3, 3, 3}, {.groups = 2},
                               {"3 output channels", "groups=2", "[3, 3, 3, 3]", "[1, 5, 5, 6]"});
  fails.operator()<ShapeError>("conv2d_large_filter", {1, 3, 9, 2}, {2, 7, 3, 2}, {.padding = 1},
                               {"larger than input", "[1, 3, 9, 2]", "[2, 7, 3, 2]", "(1, 1)"});
  fails.operator()<ShapeError>("conv2d_large_dilation", {1, 5, 5, 2}, {2, 3, 3, 2}, {.dilation = 3},
                               {"dilation (3, 3)", "[1, 5, 5, 2]"});
  fails.operator()<ShapeError>("conv2d_empty_filter", {1, 5, 5, 2}, {2, 0, 3, 2}, {},
                               {"empty filter", "[2, 0, 3, 2]"});
  fails.operator()<ShapeError>("conv2d_input_rank", {5, 5, 2}, {2, 3, 3, 2}, {},
                               {"(N, H, W, C)", "[5, 5, 2]"});
  fails.operator()<ShapeError>("conv2d_weight_rank", {1, 5, 5, 2}, {2, 3, 2}, {},
                               {"(O, KH, KW, C / groups)", "[2, 3, 2]", "[1, 5, 5, 2]"});
  fails.operator()<ValueError>("conv2d_stride", {1, 5, 5, 2}, {2, 3, 3, 2}, {.stride = {1, 0}},
                               {"stride", "(1, 0)"});
  fails.operator()<ValueError>("conv2d_padding", {1, 5, 5, 2}, {2, 3, 3, 2}, {.padding = -1},
                               {"padding", "(-1, -1)"});
  fails.operator()<ValueError>("conv2d_dilation", {1, 5, 5, 2}, {2, 3, 3, 2}, {.dilation = 0},
                               {"dilation", "(0, 0)"});
  fails.operator()<ValueError>("conv2d_huge_dilation", {1, 5, 5, 2}, {2, 3, 3, 2},
                               {.dilation = int64_t{1} << 62}, {"dilation", "2^31"});
  fails.operator()<ValueError>("conv2d_groups", {1, 5, 5, 2}, {2, 3, 3, 2}, {.groups = 0},
                               {"groups", "0"});
  cases.add_error<ShapeError>("conv2d_bias",
                              [] {
                                conv2d(zeros({1, 5, 5, 2}), zeros({4, 3, 3, 2}), zeros({2}));
                              },
                              {"bias must be [4]", "[2]", "[1, 5, 5, 2]"});
  cases.add_error<DTypeError>("conv2d_dtypes",
                              [] {
                                conv2d(zeros({1, 5, 5, 2}), zeros({4, 3, 3, 2}, DType::f64));
                              },
                              {"f32", "f64"});
  cases.add_error<DTypeError>(
      "conv2d_integers",
      [] {
        conv2d(zeros({1, 5, 5, 2}, DType::i64), zeros({4, 3, 3, 2}, DType::i64));
      },
      {"floating", "i64"});
  cases.add_error<ShapeError>(
      "conv2d_input_grad_shape",
      [] {
        conv2d_input_grad(zeros({1, 4, 4, 4}), zeros({4, 3, 3, 2}), {1, 5, 5, 2});
      },
      {"[1, 4, 4, 4]", "[1, 3, 3, 4]", "[1, 5, 5, 2]", "[4, 3, 3, 2]"});
  cases.add_error<ShapeError>(
      "conv2d_weight_grad_shape",
      [] {
        conv2d_weight_grad(zeros({2, 3, 3, 4}), zeros({1, 5, 5, 2}), {4, 3, 3, 2});
      },
      {"[2, 3, 3, 4]", "[1, 3, 3, 4]", "[1, 5, 5, 2]", "[4, 3, 3, 2]"});
  cases.add_error<ShapeError>("conv_transpose2d_channels",
                              [] {
                                conv_transpose2d(zeros({1, 5, 5, 2}), zeros({4, 3, 3, 2}));
                              },
                              {"conv_transpose2d", "[4, 3, 3, 2]", "[1, 5, 5, 2]"});
  cases.add_error<ShapeError>(
      "conv_transpose2d_groups",
      [] {
        conv_transpose2d(zeros({1, 5, 5, 3}), zeros({3, 2, 2, 2}), {}, {.groups = 2});
      },
      {"conv_transpose2d", "groups=2", "[3, 2, 2, 2]", "[1, 5, 5, 3]"});
  cases.add_error<ShapeError>("conv_transpose2d_no_pixels",
                              [] {
                                conv_transpose2d(zeros({1, 0, 5, 2}), zeros({2, 2, 2, 2}));
                              },
                              {"conv_transpose2d", "no pixels", "[1, 0, 5, 2]"});
  cases.add_error<ValueError>("conv_transpose2d_output_padding",
                              [] {
                                conv_transpose2d(zeros({1, 5, 5, 2}), zeros({2, 3, 3, 2}), {},
                                                 {.stride = 2, .output_padding = {1, 2}});
                              },
                              {"output_padding (1, 2)", "stride (2, 2)"});
  cases.add_error<ShapeError>(
      "conv_transpose2d_no_output",
      [] {
        conv_transpose2d(zeros({1, 2, 2, 2}), zeros({2, 1, 1, 2}), {}, {.padding = 1});
      },
      {"no output", "[1, 2, 2, 2]", "[2, 1, 1, 2]"});
}

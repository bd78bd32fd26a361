#include "ops/conv/deform_conv2d.h"

#include <cmath>

#include "autograd/engine.h"
#include "tests/ops/op_case.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

struct Case {
  const char* name;
  Shape x, w;
  DeformConv2dOptions options;
  bool mask, bias;
};

Shape offset_shape(const Case& c) {
  const DeformConv2dOptions& o = c.options;
  const int64_t h = (c.x[1] + 2 * o.padding.h - o.dilation.h * (c.w[1] - 1) - 1) / o.stride.h + 1;
  const int64_t w = (c.x[2] + 2 * o.padding.w - o.dilation.w * (c.w[2] - 1) - 1) / o.stride.w + 1;
  return {c.x[0], h, w, 2 * o.deform_groups * c.w[1] * c.w[2]};
}

Shape mask_shape(const Case& c) {
  Shape s = offset_shape(c);
  s[3] /= 2;
  return s;
}

// Inputs x, offset, w, then mask and bias where present.
Tensors run(const Case& c, const Tensors& in) {
  const Tensor mask = c.mask ? in[3] : Tensor();
  const Tensor bias = c.bias ? in.back() : Tensor();
  return {deform_conv2d(in[0], in[1], mask, in[2], bias, c.options)};
}

// Value of the image at a position between pixels, by the tent function of every pixel.
double bilinear(const std::vector<double>& x, const Shape& s, int64_t n, double h, double w,
                int64_t channel) {
  double value = 0;
  for (int64_t i = 0; i < s[1]; ++i)
    for (int64_t j = 0; j < s[2]; ++j) {
      const double a = 1 - std::abs(h - static_cast<double>(i));
      const double b = 1 - std::abs(w - static_cast<double>(j));
      if (a > 0 && b > 0)
        value += a * b * x[static_cast<size_t>(((n * s[1] + i) * s[2] + j) * s[3] + channel)];
    }
  return value;
}

Tensors reference(const Case& c, const Tensors& in) {
  const DeformConv2dOptions& o = c.options;
  const Shape os = offset_shape(c), ys{os[0], os[1], os[2], c.w[0]};
  const std::vector<double> x = in[0].to_vector<double>(), offset = in[1].to_vector<double>(),
                            w = in[2].to_vector<double>();
  const std::vector<double> mask = c.mask ? in[3].to_vector<double>() : std::vector<double>();
  const std::vector<double> bias = c.bias ? in.back().to_vector<double>() : std::vector<double>();
  std::vector<double> y;
  const int64_t taps = c.w[1] * c.w[2];
  for (int64_t p = 0; p < os[0] * os[1] * os[2]; ++p)
    for (int64_t f = 0; f < c.w[0]; ++f) {
      double sum = c.bias ? bias[static_cast<size_t>(f)] : 0;
      for (int64_t k = 0; k < taps; ++k)
        for (int64_t i = 0; i < c.w[3]; ++i) {
          const int64_t channel = f / (c.w[0] / o.groups) * c.w[3] + i;
          const int64_t d = channel / (c.x[3] / o.deform_groups);
          const auto at = static_cast<size_t>((p * o.deform_groups + d) * taps + k);
          const int64_t row =
              p / os[2] % os[1] * o.stride.h - o.padding.h + k / c.w[2] * o.dilation.h;
          const int64_t col = p % os[2] * o.stride.w - o.padding.w + k % c.w[2] * o.dilation.w;
          const double v =
              bilinear(x, c.x, p / (os[1] * os[2]), static_cast<double>(row) + offset[2 * at],
                       static_cast<double>(col) + offset[2 * at + 1], channel);
          sum +=
              v * (c.mask ? mask[at] : 1.0) * w[static_cast<size_t>((f * taps + k) * c.w[3] + i)];
        }
      y.push_back(sum);
    }
  return {from_vector(y, ys)};
}

// Offsets k + u with u in [0.1, 0.9): away from the kinks at whole pixels, some far outside.
std::vector<double> offsets(const std::string& name, const Shape& shape) {
  const int64_t count = numel(shape);
  const std::vector<float> whole = hash_uniform(name + "/whole", count, -3, 4);
  const std::vector<float> part = hash_uniform(name + "/part", count, 0.1, 0.9);
  std::vector<double> out;
  for (size_t i = 0; i < whole.size(); ++i)
    out.push_back(std::floor(static_cast<double>(whole[i])) + static_cast<double>(part[i]));
  return out;
}

}  // namespace

TESSERA_OP_CASES(deform_conv2d) {
  const Case list[] = {
      {"v1", {2, 5, 6, 4}, {3, 3, 3, 4}, {.padding = 1}, false, true},
      {"v2",
       {1, 6, 5, 4},
       {3, 3, 3, 4},
       {.stride = 2, .padding = 1, .deform_groups = 2},
       true,
       true},
      {"groups",
       {1, 5, 5, 6},
       {4, 2, 3, 3},
       {.stride = {1, 2}, .padding = {0, 2}, .groups = 2, .deform_groups = 3},
       true,
       false},
      {"dilated", {1, 6, 7, 2}, {2, 3, 2, 2}, {.padding = 1, .dilation = {2, 1}}, false, false},
      {"one_pixel", {1, 1, 1, 1}, {2, 1, 1, 1}, {}, true, true},
      {"wide",
       {1, 5, 4, 72},
       {20, 3, 3, 36},
       {.padding = 1, .groups = 2, .deform_groups = 2},
       true,
       true},
      {"empty", {0, 5, 5, 2}, {3, 3, 3, 2}, {}, true, true},
  };
  for (const Case& c : list) {
    const std::string name = cat("deform_conv2d_", c.name);
    OpCase op{.name = name,
              .inputs = {{.shape = c.x},
                         {.shape = offset_shape(c), .values = offsets(name, offset_shape(c))},
                         {.shape = c.w}},
              .run = [c](const Tensors& in) { return run(c, in); },
              .reference = [c](const Tensors& in) { return reference(c, in); },
              .order = c.x[3] > 8 ? 1 : 2,
              .flops = 2 * c.x[0] * mask_shape(c)[1] * mask_shape(c)[2] * numel(c.w)};
    if (c.mask) op.inputs.push_back({.shape = mask_shape(c), .lo = 0});
    if (c.bias) op.inputs.push_back({.shape = {c.w[0]}});
    cases.add(std::move(op));
  }
  // Fixed sampling: the gradients of the filters alone.
  const Case c = list[1];
  const std::string name = "deform_conv2d_filters";
  cases.add({.name = name,
             .inputs = {{.shape = c.x, .differentiable = false},
                        {.shape = offset_shape(c),
                         .differentiable = false,
                         .values = offsets(name, offset_shape(c))},
                        {.shape = c.w},
                        {.shape = mask_shape(c), .lo = 0, .differentiable = false},
                        {.shape = {c.w[0]}}},
             .run = [c](const Tensors& in) { return run(c, in); },
             .reference = [c](const Tensors& in) { return reference(c, in); }});
}

TESSERA_OP_CASES(deform_conv2d_errors) {
  const auto call = [](Shape x, Shape offset, Shape w, Shape mask, DeformConv2dOptions o) {
    return [=] {
      deform_conv2d(zeros(x), zeros(offset), mask.empty() ? Tensor() : zeros(mask), zeros(w), {},
                    o);
    };
  };
  cases.add_error<ShapeError>("deform_offset",
                              call({1, 5, 5, 2}, {1, 5, 5, 9}, {3, 3, 3, 2}, {}, {.padding = 1}),
                              {"offset must be [1, 5, 5, 18]", "[1, 5, 5, 9]", "[1, 5, 5, 2]"});
  cases.add_error<ShapeError>(
      "deform_mask", call({1, 5, 5, 2}, {1, 5, 5, 18}, {3, 3, 3, 2}, {1, 5, 5, 18}, {.padding = 1}),
      {"mask must be [1, 5, 5, 9]", "[1, 5, 5, 18]"});
  cases.add_error<ShapeError>("deform_channels",
                              call({1, 5, 5, 2}, {1, 5, 5, 18}, {3, 3, 3, 4}, {}, {.padding = 1}),
                              {"[3, 3, 3, 4]", "expects 4 input channels", "[1, 5, 5, 2]"});
  cases.add_error<ShapeError>(
      "deform_groups",
      call({1, 5, 5, 3}, {1, 5, 5, 36}, {3, 3, 3, 3}, {}, {.padding = 1, .deform_groups = 2}),
      {"deform_groups=2", "[1, 5, 5, 3]"});
  cases.add_error<ShapeError>("deform_large",
                              call({1, 2, 2, 2}, {1, 1, 1, 18}, {3, 3, 3, 2}, {}, {}),
                              {"larger than input", "[1, 2, 2, 2]"});
  cases.add_error<ValueError>("deform_stride",
                              call({1, 5, 5, 2}, {1, 5, 5, 18}, {3, 3, 3, 2}, {}, {.stride = 0}),
                              {"stride", "(0, 0)"});
}

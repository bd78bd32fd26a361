#include "ops/norm/group_norm.h"
#include "ops/norm/instance_norm.h"
#include "ops/norm/layer_norm.h"
#include "tests/ops/norm/norm_reference.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

std::vector<OpInput> with_affine(const Shape& x, const Shape& parameters) {
  return {{.shape = x, .lo = -2, .hi = 3},
          {.shape = parameters, .lo = 0.5, .hi = 1.5},
          {.shape = parameters}};
}

}  // namespace

TESSERA_OP_CASES(instance_norm) {
  for (const Shape& s :
       {Shape{3, 5, 4, 6}, Shape{2, 3, 1}, Shape{1, 2, 2, 17}, Shape{0, 2, 2, 3}}) {
    auto reference = [s](const Tensors& in) {
      return Tensors{norm64(in[0], s[0], s.back(), 1, 1e-5, in.size() > 1 ? in[1] : Tensor(),
                            in.size() > 1 ? in[2] : Tensor())};
    };
    cases.add({.name = cat("instance_norm", s),
               .inputs = with_affine(s, {s.back()}),
               .run = [](const Tensors& in) { return Tensors{instance_norm(in[0], in[1], in[2])}; },
               .reference = reference,
               .f32_tolerance = 4});
    cases.add({.name = cat("instance_norm_plain", s),
               .inputs = {{.shape = s}},
               .run = [](const Tensors& in) { return Tensors{instance_norm(in[0])}; },
               .reference = reference,
               .f32_tolerance = 4});
  }
  cases.add_error<ValueError>("instance_norm_one_position",
                              [] {
                                instance_norm(zeros({4, 1, 1, 3}));
                              },
                              {"instance_norm", "[4, 1, 1, 3]"});
  cases.add_error<ShapeError>("instance_norm_rank",
                              [] {
                                instance_norm(zeros({4, 3}));
                              },
                              {"instance_norm", "[4, 3]"});
}

TESSERA_OP_CASES(group_norm) {
  struct Row {
    Shape shape;
    int64_t groups;
  };
  for (const auto& [s, groups] :
       {Row{{2, 4, 5, 6}, 3}, Row{{2, 4, 5, 6}, 1}, Row{{2, 3, 3, 6}, 6}, Row{{3, 8}, 2},
        Row{{2, 1, 1, 10}, 5}, Row{{3, 12}, 1}, Row{{0, 3, 4}, 2}})
    cases.add(
        {.name = cat("group_norm_", groups, s),
         .inputs = with_affine(s, {s.back()}),
         .run = [g = groups](
                    const Tensors& in) { return Tensors{group_norm(in[0], g, in[1], in[2])}; },
         .reference =
             [s = s, g = groups](const Tensors& in) {
               return Tensors{norm64(in[0], s[0], s.back(), s.back() / g, 1e-5, in[1], in[2])};
             },
         .f32_tolerance = 4});
  cases.add_error<ValueError>("group_norm_divisor",
                              [] {
                                group_norm(zeros({2, 4, 4, 6}), 4);
                              },
                              {"group_norm", "4 groups", "[2, 4, 4, 6]"});
}

TESSERA_OP_CASES(layer_norm) {
  struct Row {
    Shape shape;
    int axes;
  };
  for (const auto& [s, axes] :
       {Row{{4, 5, 12}, 1}, Row{{3, 70}, 1}, Row{{2, 3, 4, 5}, 2}, Row{{7}, 1}, Row{{2, 3, 4}, 3},
        Row{{12, 33}, 1}, Row{{3, 2}, 1}, Row{{0, 4}, 1}}) {
    Shape normalized;
    for (int i = s.rank() - axes; i < s.rank(); ++i) normalized.push_back(s[i]);
    const int64_t length = numel(normalized);
    const int64_t rows = numel(s) / length;
    cases.add({.name = cat("layer_norm_", axes, s),
               .inputs = with_affine(s, normalized),
               .run =
                   [=](const Tensors& in) {
                     return Tensors{layer_norm(in[0], normalized, in[1], in[2])};
                   },
               .reference =
                   [=](const Tensors& in) {
                     return Tensors{norm64(in[0], rows, length, length, 1e-5, in[1], in[2])};
                   },
               .f32_tolerance = 4});
    cases.add({.name = cat("layer_norm_plain_", axes, s),
               .inputs = {{.shape = s}},
               .run =
                   [=](const Tensors& in) {
                     return Tensors{layer_norm(in[0], normalized, {}, {}, 1e-3)};
                   },
               .reference =
                   [=](const Tensors& in) {
                     return Tensors{norm64(in[0], rows, length, length, 1e-3, {}, {})};
                   },
               .f32_tolerance = 4});
  }
  cases.add_error<ShapeError>("layer_norm_axes",
                              [] {
                                layer_norm(zeros({2, 3}), {2});
                              },
                              {"layer_norm", "[2, 3]", "[2]"});
  cases.add_error<ShapeError>("layer_norm_weight",
                              [] {
                                layer_norm(zeros({2, 3}), {3}, ones({2}), zeros({3}));
                              },
                              {"layer_norm", "weight [2]", "[2, 3]"});
}

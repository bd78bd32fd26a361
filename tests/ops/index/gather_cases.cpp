#include "ops/index/gather.h"
#include "tests/ops/array.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

/// i64 input with values in [0, size), some of them equal.
OpInput index_input(const Shape& shape, int64_t size) {
  OpInput in{.shape = shape, .differentiable = false, .dtype = DType::i64};
  for (int64_t i = 0; i < numel(shape); ++i) in.values.push_back(double((i * 7 + i / 3) % size));
  return in;
}

struct Addressing {
  Shape x;
  int axis;
  Shape index;
};

const std::vector<Addressing>& lattice() {
  static const std::vector<Addressing> rows{{{5}, 0, {7}},
                                            {{3, 4}, 0, {5, 4}},
                                            {{3, 4}, 1, {3, 2}},
                                            {{3, 4}, 1, {2, 3}},
                                            {{2, 3, 4}, 1, {2, 5, 4}},
                                            {{2, 3, 4}, 2, {1, 2, 3}},
                                            {{2, 3, 4}, 0, {1, 3, 2}},
                                            {{1, 1}, 1, {1, 1}},
                                            {{3, 4}, 0, {0, 4}}};
  return rows;
}

/// A gather-like call: coordinate i of the index addresses coordinate `to` of x.
Dims addressed(const Array& index, Dims i, int axis) {
  const auto at = static_cast<int64_t>(index.at(i));
  i[axis] = at;
  return i;
}

void add_element_cases(OpCaseList& cases) {
  for (const Addressing& a : lattice()) {
    const std::string suffix = cat("_axis", a.axis, "_", a.x, "_", a.index);
    const int axis = a.axis;
    cases.add({.name = "gather" + suffix,
               .inputs = {{.shape = a.x}, index_input(a.index, a.x[axis])},
               .run = [axis](const Tensors& in) { return Tensors{gather(in[0], axis, in[1])}; },
               .reference =
                   [axis](const Tensors& in) {
                     const Array x(in[0]), index(in[1]);
                     return Tensors{Array::make(index.shape, [&](const Dims& i) {
                                      return x.at(addressed(index, i, axis));
                                    }).tensor()};
                   }});
    cases.add(
        {.name = "scatter_add" + suffix,
         .inputs = {{.shape = a.x}, index_input(a.index, a.x[axis]), {.shape = a.index}},
         .run =
             [axis](const Tensors& in) { return Tensors{scatter_add(in[0], axis, in[1], in[2])}; },
         .reference =
             [axis](const Tensors& in) {
               Array y(in[0]);
               const Array index(in[1]), src(in[2]);
               Array::for_each(index.shape, [&](const Dims& i) {
                 y.at(addressed(index, i, axis)) += src.at(i);
               });
               return Tensors{y.tensor()};
             }});
  }
  OpInput distinct{.shape = {2, 3}, .differentiable = false, .dtype = DType::i64};
  distinct.values = {4, 0, 2, 1, 3, 0};
  cases.add({.name = "scatter",
             .inputs = {{.shape = {2, 5}}, distinct, {.shape = {2, 3}}},
             .run = [](const Tensors& in) { return Tensors{scatter(in[0], 1, in[1], in[2])}; },
             .reference =
                 [](const Tensors& in) {
                   Array y(in[0]);
                   const Array index(in[1]), src(in[2]);
                   Array::for_each(index.shape, [&](const Dims& i) {
                     y.at(addressed(index, i, 1)) = src.at(i);
                   });
                   return Tensors{y.tensor()};
                 }});
}

void add_slice_cases(OpCaseList& cases) {
  for (const Shape& shape : {Shape{6}, Shape{3, 5}, Shape{2, 4, 3}, Shape{1, 1, 1}})
    for (int axis = 0; axis < shape.rank(); ++axis)
      for (int64_t count : {0, 1, 7}) {
        const std::string suffix = cat("_axis", axis, "_", shape, "_", count);
        const OpInput index = index_input({count}, shape[axis]);
        Shape picked = shape;
        picked[axis] = count;
        cases.add(
            {.name = "index_select" + suffix,
             .inputs = {{.shape = shape}, index},
             .run = [axis](const Tensors& in) { return Tensors{index_select(in[0], axis, in[1])}; },
             .reference =
                 [axis, picked](const Tensors& in) {
                   const Array x(in[0]), at(in[1]);
                   return Tensors{Array::make(picked, [&](Dims i) {
                                    i[axis] = static_cast<int64_t>(at.at({i[axis]}));
                                    return x.at(i);
                                  }).tensor()};
                 }});
        cases.add({.name = "index_add" + suffix,
                   .inputs = {{.shape = shape}, index, {.shape = picked}},
                   .run =
                       [axis](const Tensors& in) {
                         return Tensors{index_add(in[0], axis, in[1], in[2])};
                       },
                   .reference =
                       [axis](const Tensors& in) {
                         Array y(in[0]);
                         const Array at(in[1]), src(in[2]);
                         Array::for_each(src.shape, [&](Dims i) {
                           const double v = src.at(i);
                           i[axis] = static_cast<int64_t>(at.at({i[axis]}));
                           y.at(i) += v;
                         });
                         return Tensors{y.tensor()};
                       }});
      }
  cases.add({.name = "take_rows",
             .inputs = {{.shape = {4, 3}}, index_input({2, 5}, 4)},
             .run = [](const Tensors& in) { return Tensors{take_rows(in[0], in[1])}; },
             .reference =
                 [](const Tensors& in) {
                   const Array x(in[0]), at(in[1]);
                   return Tensors{Array::make({2, 5, 3}, [&](const Dims& i) {
                                    return x.at({static_cast<int64_t>(at.at({i[0], i[1]})), i[2]});
                                  }).tensor()};
                 }});
}

}  // namespace

TESSERA_OP_CASES(gather) {
  add_element_cases(cases);
  add_slice_cases(cases);
  const auto x = [] { return zeros({3, 4}); };
  const auto index = [](std::vector<int64_t> v, Shape s) { return from_vector(v, s); };
  cases.add_error<ValueError>("gather_range",
                              [=] {
                                gather(x(), 0, index({0, 3}, {1, 2}));
                              },
                              {"gather", "3", "position 1"});
  cases.add_error<ValueError>("gather_negative",
                              [=] {
                                gather(x(), 1, index({-1}, {1, 1}));
                              },
                              {"-1", "[0, 4)"});
  cases.add_error<ShapeError>("gather_shape",
                              [=] {
                                gather(x(), 0, index({0, 0, 0, 0, 0}, {1, 5}));
                              },
                              {"[1, 5]", "[3, 4]"});
  cases.add_error<DTypeError>("gather_dtype",
                              [=] {
                                gather(x(), 0, zeros({1, 2}));
                              },
                              {"i64", "f32"});
  cases.add_error<ShapeError>("scatter_add_source",
                              [=] {
                                scatter_add(x(), 0, index({0}, {1, 1}), zeros({1, 2}));
                              },
                              {"[1, 1]", "[1, 2]"});
  cases.add_error<ValueError>("scatter_range",
                              [=] {
                                scatter(x(), 0, index({5}, {1, 1}), zeros({1, 1}));
                              },
                              {"scatter", "5"});
  cases.add_error<ValueError>("index_select_range",
                              [=] {
                                index_select(x(), 1, index({0, 4}, {2}));
                              },
                              {"4", "[0, 4)"});
  cases.add_error<ShapeError>("index_select_rank",
                              [=] {
                                index_select(x(), 1, index({0}, {1, 1}));
                              },
                              {"[1, 1]"});
  cases.add_error<ShapeError>("index_add_source",
                              [=] {
                                index_add(x(), 0, index({0, 1}, {2}), zeros({3, 4}));
                              },
                              {"[2, 4]", "[3, 4]"});
  cases.add_error<ValueError>("take_rows_range", [=] { take_rows(x(), index({9}, {1})); },
                              {"9", "[0, 3)"});
}

#include "ops/index/concat.h"
#include "tests/ops/array.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

Tensor concat64(const Tensors& xs, int axis) {
  Shape shape = xs[0].shape();
  shape[axis] = 0;
  for (const Tensor& x : xs) shape[axis] += x.shape()[axis];
  return Array::make(shape,
                     [&](Dims i) {
                       size_t k = 0;
                       for (; i[axis] >= xs[k].shape()[axis]; ++k) i[axis] -= xs[k].shape()[axis];
                       return Array(xs[k]).at(i);
                     })
      .tensor();
}

}  // namespace

TESSERA_OP_CASES(concat) {
  struct Row {
    std::vector<Shape> shapes;
    int axis;
  };
  for (const Row& row : std::vector<Row>{{{{2, 3, 4}, {2, 1, 4}, {2, 5, 4}}, 1},
                                         {{{2, 3}, {1, 3}}, 0},
                                         {{{3, 2, 2, 5}, {3, 2, 2, 1}, {3, 2, 2, 2}}, 3},
                                         {{{3}, {0}, {2}}, 0},
                                         {{{0, 3}, {0, 2}}, 1},
                                         {{{1, 1}}, 0}}) {
    OpCase c{};
    c.name = cat("concat_axis", row.axis, "_of", row.shapes.size(), "_", row.shapes[0]);
    for (const Shape& s : row.shapes) c.inputs.push_back({.shape = s});
    const int axis = row.axis;
    c.run = [axis](const Tensors& in) { return Tensors{concat(in, axis)}; };
    c.reference = [axis](const Tensors& in) { return Tensors{concat64(in, axis)}; };
    cases.add(std::move(c));
  }
  for (int axis : {0, 1, 2}) {
    cases.add({.name = cat("stack_axis", axis),
               .inputs = {{.shape = {2, 3}}, {.shape = {2, 3}}, {.shape = {2, 3}}},
               .run = [axis](const Tensors& in) { return Tensors{stack(in, axis)}; },
               .reference =
                   [axis](const Tensors& in) {
                     Shape shape{2, 3};
                     shape.insert(axis, 3);
                     return Tensors{Array::make(shape, [&](Dims i) {
                                      const auto k = static_cast<size_t>(i[axis]);
                                      i.erase(axis);
                                      return Array(in[k]).at(i);
                                    }).tensor()};
                   }});
  }
  const auto piece = [](const Tensor& x, int axis, int64_t start, int64_t size) {
    Shape shape = x.shape();
    shape[axis] = size;
    return Array::make(shape,
                       [&](Dims i) {
                         i[axis] += start;
                         return Array(x).at(i);
                       })
        .tensor();
  };
  cases.add(
      {.name = "split",
       .inputs = {{.shape = {2, 7, 3}}},
       .run =
           [](const Tensors& in) {
             return split(in[0], {3, 0, 4}, 1);
           },
       .reference =
           [piece](const Tensors& in) {
             return Tensors{piece(in[0], 1, 0, 3), piece(in[0], 1, 3, 0), piece(in[0], 1, 3, 4)};
           }});
  cases.add(
      {.name = "chunk_uneven",
       .inputs = {{.shape = {2, 7}}},
       .run = [](const Tensors& in) { return chunk(in[0], 3, -1); },
       .reference =
           [piece](const Tensors& in) {
             return Tensors{piece(in[0], 1, 0, 3), piece(in[0], 1, 3, 3), piece(in[0], 1, 6, 1)};
           }});
  for (int64_t shift : {0, 1, -2, 7, -9}) {
    cases.add({.name = cat("roll_", shift),
               .inputs = {{.shape = {2, 5, 3}}},
               .run = [shift](const Tensors& in) { return Tensors{roll(in[0], shift, 1)}; },
               .reference =
                   [shift](const Tensors& in) {
                     return Tensors{Array::make(in[0].shape(), [&](Dims i) {
                                      i[1] = (i[1] - shift + 20) % 5;
                                      return Array(in[0]).at(i);
                                    }).tensor()};
                   }});
  }
  cases.add_error<ValueError>("concat_of_none", [] { concat({}, 0); }, {"concat", "at least one"});
  cases.add_error<ShapeError>("concat_sizes",
                              [] {
                                concat({zeros({2, 3}), zeros({3, 3})}, 1);
                              },
                              {"[3, 3]", "[2, 3]"});
  cases.add_error<DTypeError>("concat_dtypes",
                              [] {
                                concat({zeros({2}), zeros({2}, DType::i64)}, 0);
                              },
                              {"f32", "i64"});
  cases.add_error<ShapeError>("stack_shapes",
                              [] {
                                stack({zeros({2, 3}), zeros({2, 4})}, 0);
                              },
                              {"[2, 4]", "[2, 3]"});
  cases.add_error<ShapeError>("split_total",
                              [] {
                                split(zeros({2, 5}), {2, 2}, 1);
                              },
                              {"4", "[2, 5]", "5"});
  cases.add_error<ValueError>("chunk_count", [] { chunk(zeros({2}), 0); }, {"chunk", "0"});
}

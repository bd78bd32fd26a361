#include "ops/index/cumsum.h"
#include "ops/index/flip.h"
#include "ops/index/nonzero.h"
#include "ops/index/triangle.h"
#include "tests/ops/array.h"

using namespace tessera;
using namespace tessera::testing;

TESSERA_OP_CASES(cumsum) {
  for (const Shape& shape : {Shape{6}, Shape{3, 6}, Shape{2, 3, 70}, Shape{2, 1, 3}, Shape{0, 4}})
    for (int axis = 0; axis < shape.rank(); ++axis)
      for (bool reverse : {false, true})
        cases.add({.name = cat("cumsum_axis", axis, reverse ? "_reverse_" : "_", shape),
                   .inputs = {{.shape = shape}},
                   .run = [=](const Tensors& in) { return Tensors{cumsum(in[0], axis, reverse)}; },
                   .reference =
                       [=](const Tensors& in) {
                         const Array x(in[0]);
                         return Tensors{Array::make(shape, [&](Dims i) {
                                          const int64_t here = i[axis];
                                          double s = 0;
                                          for (int64_t j = 0; j < shape[axis]; ++j) {
                                            i[axis] = j;
                                            if (reverse ? j >= here : j <= here) s += x.at(i);
                                          }
                                          return s;
                                        }).tensor()};
                       },
                   .order = numel(shape) > 100 ? 0 : 2});
  cases.add_error<ValueError>("cumsum_axis", [] { cumsum(zeros({2}), 1); }, {"cumsum", "1"});
  cases.add_error<DTypeError>("cumsum_bool", [] { cumsum(zeros({2}, DType::boolean), 0); },
                              {"cumsum", "bool"});
}

TESSERA_OP_CASES(flip) {
  for (const Dims& axes : {Dims{}, Dims{0}, Dims{1}, Dims{-1}, Dims{0, 2}, Dims{0, 1, 2}})
    cases.add({.name = cat("flip_", axes),
               .inputs = {{.shape = {2, 3, 4}}},
               .run = [=](const Tensors& in) { return Tensors{flip(in[0], axes)}; },
               .reference =
                   [=](const Tensors& in) {
                     const Array x(in[0]);
                     return Tensors{Array::make({2, 3, 4}, [&](Dims i) {
                                      for (int64_t a : axes) {
                                        const int d = static_cast<int>((a + 3) % 3);
                                        i[d] = x.shape[d] - 1 - i[d];
                                      }
                                      return x.at(i);
                                    }).tensor()};
                   }});
  cases.add_error<ValueError>("flip_twice", [] { flip(zeros({2, 3}), {1, -1}); }, {"flip", "-1"});
}

TESSERA_OP_CASES(triangle) {
  for (bool upper : {false, true})
    for (int64_t diagonal : {-5, -1, 0, 2, 9})
      for (const Shape& shape : {Shape{3, 4}, Shape{2, 4, 3}, Shape{0, 3}})
        cases.add({.name = cat(upper ? "triu_" : "tril_", diagonal, shape),
                   .inputs = {{.shape = shape}},
                   .run =
                       [=](const Tensors& in) {
                         return Tensors{upper ? triu(in[0], diagonal) : tril(in[0], diagonal)};
                       },
                   .reference =
                       [=](const Tensors& in) {
                         const Array x(in[0]);
                         return Tensors{Array::make(shape, [&](const Dims& i) {
                                          const int64_t row = i[shape.rank() - 2];
                                          const int64_t above = i.back() - row;
                                          const bool kept =
                                              upper ? above >= diagonal : above <= diagonal;
                                          return kept ? x.at(i) : 0.0;
                                        }).tensor()};
                       }});
  cases.add_error<ShapeError>("tril_rank", [] { tril(zeros({3})); }, {"tril", "[3]"});
}

TESSERA_OP_CASES(masked_select) {
  OpInput mask{.shape = {2, 5}, .differentiable = false, .dtype = DType::boolean};
  mask.values = {1, 0, 0, 1, 1, 0, 1, 0, 0, 0};
  cases.add({.name = "masked_select",
             .inputs = {{.shape = {2, 5}}, mask},
             .run = [](const Tensors& in) { return Tensors{masked_select(in[0], in[1])}; },
             .reference =
                 [](const Tensors& in) {
                   std::vector<double> kept;
                   const Array x(in[0]), m(in[1]);
                   for (size_t i = 0; i < x.v.size(); ++i)
                     if (m.v[i] != 0) kept.push_back(x.v[i]);
                   return Tensors{from_vector(kept)};
                 }});
  cases.add_error<DTypeError>("masked_select_dtype", [] { masked_select(zeros({2}), zeros({2})); },
                              {"bool", "f32"});
  cases.add_error<ShapeError>("masked_select_shape",
                              [] { masked_select(zeros({2}), zeros({3}, DType::boolean)); },
                              {"[2]", "[3]"});
  cases.add_error<ValueError>("one_hot_range",
                              [] {
                                one_hot(from_vector<int64_t>({0, 3}), 3);
                              },
                              {"one_hot", "3", "[0, 3)"});
}

#include "ops/reduce/sum.h"
#include "tests/ops/op_case.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

// One element at a time, through the index.
Tensor sum_reference(const Tensor& x, const Dims& axes, bool keepdim) {
  Shape kept = x.shape();
  std::vector<bool> reduced(static_cast<size_t>(x.rank()), axes.empty());
  for (int64_t a : axes) reduced[static_cast<size_t>(a < 0 ? a + x.rank() : a)] = true;
  for (int i = 0; i < x.rank(); ++i)
    if (reduced[static_cast<size_t>(i)]) kept[i] = 1;
  std::vector<double> out(static_cast<size_t>(numel(kept)));
  const Strides in_strides = contiguous_strides(x.shape()), out_strides = contiguous_strides(kept);
  const std::vector<double> v = x.to_vector<double>();
  for (size_t flat = 0; flat < v.size(); ++flat) {
    int64_t target = 0;
    for (int i = 0; i < x.rank(); ++i) {
      const int64_t index = static_cast<int64_t>(flat) / in_strides[i] % x.shape()[i];
      if (!reduced[static_cast<size_t>(i)]) target += index * out_strides[i];
    }
    out[static_cast<size_t>(target)] += v[flat];
  }
  Shape shape;
  for (int i = 0; i < x.rank(); ++i)
    if (keepdim || !reduced[static_cast<size_t>(i)]) shape.push_back(kept[i]);
  return from_vector(out, shape);
}

}  // namespace

TESSERA_OP_CASES(sum) {
  struct Row {
    Shape shape;
    Dims axes;
  };
  const Row rows[] = {{{}, {}},
                      {{5}, {0}},
                      {{0}, {}},
                      {{3, 0}, {1}},
                      {{3, 4, 5}, {}},
                      {{3, 4, 5}, {0}},
                      {{3, 4, 5}, {1}},
                      {{3, 4, 5}, {-1}},
                      {{3, 4, 5}, {0, 2}},
                      {{2, 3, 4, 5}, {1, 2}},
                      {{1, 3, 1}, {0, 2}},
                      {{2, 3, 2, 3}, {0, 3}}};
  for (const Row& row : rows)
    for (bool keepdim : {false, true})
      cases.add({.name = cat("sum", row.shape, row.axes, keepdim ? "_keep" : ""),
                 .inputs = {{.shape = row.shape}},
                 .run = [=](const Tensors& in) { return Tensors{sum(in[0], row.axes, keepdim)}; },
                 .reference =
                     [=](const Tensors& in) {
                       return Tensors{sum_reference(in[0], row.axes, keepdim)};
                     }});
  // Long enough for several pieces and threads.
  for (const Row& row : {Row{{200000}, {}}, Row{{4000, 33}, {0}}, Row{{33, 4000}, {1}}})
    cases.add(
        {.name = cat("sum_long", row.shape),
         .inputs = {{.shape = row.shape, .differentiable = false}},
         .run = [=](const Tensors& in) { return Tensors{sum(in[0], row.axes)}; },
         .reference =
             [=](const Tensors& in) { return Tensors{sum_reference(in[0], row.axes, false)}; },
         .order = 0,
         .bytes = 4 * numel(row.shape)});
  cases.add_error<ValueError>("sum_axis", [] { sum(zeros({2, 3}), {2}); }, {"sum", "2"});
}

#include "ops/index/sort.h"

#include <algorithm>
#include <numeric>

#include "tests/ops/array.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

/// The first k of each column in order, values and positions.
Tensors sorted64(const Tensor& x, int axis, int64_t k, bool descending) {
  const Array in(x);
  Shape shape = x.shape();
  shape[axis] = k;
  Array values(shape), indices(shape);
  Shape columns = x.shape();
  columns[axis] = 1;
  Array::for_each(columns, [&](Dims i) {
    std::vector<int64_t> order(static_cast<size_t>(x.shape()[axis]));
    std::iota(order.begin(), order.end(), 0);
    const auto value = [&](int64_t j) {
      i[axis] = j;
      return in.at(i);
    };
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return descending ? value(a) > value(b) : value(a) < value(b);
    });
    for (int64_t j = 0; j < k; ++j) {
      const double v = value(order[static_cast<size_t>(j)]);
      i[axis] = j;
      values.at(i) = v;
      indices.at(i) = static_cast<double>(order[static_cast<size_t>(j)]);
    }
  });
  return {values.tensor(), indices.tensor()};
}

}  // namespace

TESSERA_OP_CASES(sort) {
  for (const Shape& shape : {Shape{7}, Shape{3, 6}, Shape{2, 5, 3}, Shape{4, 1}, Shape{0, 3}})
    for (int axis = 0; axis < shape.rank(); ++axis)
      for (bool descending : {false, true}) {
        const std::string suffix = cat("_axis", axis, descending ? "_down_" : "_up_", shape);
        cases.add({.name = "sort" + suffix,
                   .inputs = {{.shape = shape}},
                   .run =
                       [=](const Tensors& in) {
                         const SortResult r = sort(in[0], axis, descending);
                         return Tensors{r.values, r.indices};
                       },
                   .reference =
                       [=](const Tensors& in) {
                         return sorted64(in[0], axis, shape[axis], descending);
                       }});
        const int64_t k = std::min<int64_t>(2, shape[axis]);
        cases.add(
            {.name = cat("topk", k, suffix),
             .inputs = {{.shape = shape}},
             .run =
                 [=](const Tensors& in) {
                   const SortResult r = topk(in[0], k, axis, descending);
                   return Tensors{r.values, r.indices};
                 },
             .reference = [=](const Tensors& in) { return sorted64(in[0], axis, k, descending); }});
      }
  // Equal values keep their order; many of them, so that an unstable sort would show.
  OpInput ties{.shape = {64}, .differentiable = false};
  for (int i = 0; i < 64; ++i) ties.values.push_back(i % 3);
  for (bool descending : {false, true})
    cases.add({.name = cat("sort_ties", descending),
               .inputs = {ties},
               .run =
                   [=](const Tensors& in) {
                     const SortResult r = sort(in[0], 0, descending);
                     return Tensors{r.values, r.indices};
                   },
               .reference = [=](const Tensors& in) { return sorted64(in[0], 0, 64, descending); },
               .order = 0});
  cases.add_error<ValueError>("topk_k", [] { topk(zeros({3, 4}), 5, 1); }, {"5", "[3, 4]", "4"});
  cases.add_error<ValueError>("sort_axis", [] { sort(zeros({3, 4}), 2); }, {"sort", "2"});
}

// What the cases of the reductions do not reach on a GPU: packs and single elements, tails, rests
// of rows, several pieces and blocks, axes that lie in any order, misaligned views and every dtype.

#include "ops/reduce/extreme.h"
#include "ops/reduce/moments.h"
#include "ops/reduce/product.h"
#include "ops/reduce/sum.h"
#include "tests/ops/device_compare.h"

namespace tessera::testing {
namespace {

using ReduceDevice = OnDevice;
using View = std::function<Tensor(const Tensor&)>;

struct Layout {
  Shape shape;
  Dims axes;
};
const Layout kLayouts[] = {
    {{120007}, {}},
    {{3, 20003}, {1}},
    {{3, 20000}, {1}},
    {{20003, 3}, {0}},
    {{9000, 64}, {0}},
    {{700, 257}, {0}},
    {{70, 36}, {1}},
    {{513, 4}, {1}},
    {{6, 50, 66}, {1}},
    {{6, 50, 66}, {0, 2}},
    {{2, 3, 8, 5, 16}, {1, 3}},
    {{2, 3, 8, 5, 16}, {0, 2, 4}},
};
const DType kAll[] = {DType::f32, DType::f64, DType::f16, DType::bf16,
                      DType::i64, DType::i32, DType::u8,  DType::boolean};

void compare_all(const Tensor& cpu, const Tensor& gpu, const Dims& axes, const std::string& what) {
  const DType dtype = cpu.dtype();
  const double few = rounding(dtype);
  expect_close(sum(gpu, axes), sum(cpu, axes), is_floating(dtype) ? few : 0, what + " sum");
  expect_close(count_nonzero(gpu, axes), count_nonzero(cpu, axes), 0, what + " count_nonzero");
  if (dtype == DType::boolean) return;
  expect_close(amax(gpu, axes), amax(cpu, axes), 0, what + " amax");
  expect_close(amin(gpu, axes), amin(cpu, axes), 0, what + " amin");
  if (axes.size() == 1) {
    const int64_t axis = axes[0];
    expect_close(argmax(gpu, axis), argmax(cpu, axis), 0, what + " argmax");
    expect_close(argmin(gpu, axis), argmin(cpu, axis), 0, what + " argmin");
  }
  if (!is_floating(dtype)) return;
  // The variance of equal elements is 0 but for the rounding of their mean.
  expect_close(var(gpu, axes), var(cpu, axes), few, what + " var", 1e-13);
  expect_close(norm(gpu, 2, axes), norm(cpu, 2, axes), few, what + " norm");
  expect_close(logsumexp(gpu, axes), logsumexp(cpu, axes), few, what + " logsumexp");
}

TEST_F(ReduceDevice, EveryDTypeAndLayout) {
  for (const Layout& l : kLayouts)
    for (DType dtype : kAll) {
      const std::string what = cat(l.shape, l.axes, ' ', to_string(dtype));
      const Tensor x = hashed(what, l.shape, dtype, is_floating(dtype) ? -3 : 0, 3);
      compare_all(x, on_gpu(x), l.axes, what);
      if (dtype == DType::f32 || dtype == DType::f16)
        compare_all(x, misaligned(x), l.axes, what + " misaligned");
    }
}

TEST_F(ReduceDevice, Products) {
  for (const Layout& l : kLayouts) {
    const Tensor x = hashed(cat("prod", l.shape), l.shape, DType::f32, 0.9996, 1.0004);
    expect_close(prod(on_gpu(x), l.axes), prod(x, l.axes), 1e-5, cat("prod", l.shape, l.axes));
  }
}

// The fastest axis of memory is none of the last ones, or there is none.
TEST_F(ReduceDevice, AxesInAnyOrder) {
  const std::pair<const char*, View> views[] = {
      {"transposed",
       [](const Tensor& x) {
         return view::permute(x, {2, 0, 1});
       }},
      {"sliced", [](const Tensor& x) { return view::slice(x, 2, 1, 40, 3); }},
      {"rows", [](const Tensor& x) { return view::slice(x, 0, 1, 6, 2); }},
      {"broadcast",
       [](const Tensor& x) {
         return view::broadcast_to(x, {3, 7, 30, 44});
       }},
      {"constant",
       [](const Tensor& x) {
         return view::broadcast_to(view::slice(view::slice(x, 0, 0, 1), 2, 0, 1), {7, 30, 44});
       }},
  };
  const Tensor x = hashed("order", {7, 30, 44}, DType::f32), there = on_gpu(x);
  for (const auto& [name, see] : views) {
    const Tensor a = see(x), b = see(there);
    for (const Dims& axes : {Dims{}, Dims{0}, Dims{1}, Dims{2}, Dims{-1}, Dims{0, 2}, Dims{1, 2}})
      compare_all(a, b, axes, cat(name, axes));
  }
}

TEST_F(ReduceDevice, NanAndInfinity) {
  const double inf = INFINITY, nan = NAN;
  const std::vector<double> rows[] = {{1, inf, 2, -3, 5},
                                      {nan, 1, 2, 3, 4},
                                      {1, 2, nan, inf, 0},
                                      {-inf, -inf, 1, 0, 2},
                                      {-inf, -inf, -inf, -inf, -inf},
                                      {inf, -inf, 1, 2, 3}};
  std::vector<double> all;
  for (const auto& row : rows) all.insert(all.end(), row.begin(), row.end());
  const Tensor x = view::to(from_vector(all, {6, 5}), DType::f32);
  compare_all(x, on_gpu(x), {1}, "rows");
  compare_all(view::permute(x, {1, 0}), on_gpu(view::permute(x, {1, 0})), {0}, "columns");
}

// Shifted sums must not cancel however far the mean lies from 0.
TEST_F(ReduceDevice, VarianceFarFromZero) {
  for (double mean : {0.0, 1e3, 1e6}) {
    const Tensor x = hashed("far", {40000}, DType::f64, mean - 1, mean + 1);
    expect_close(var(on_gpu(x)), var(x), 1e-9, cat("mean ", mean));
  }
}

}  // namespace
}  // namespace tessera::testing

// What the cases of the index operators do not reach on a GPU: several blocks and levels, words of
// all widths, tails, misaligned views, half types and the paths for many or few columns. Everything
// must equal the CPU's result, bit for bit but for sums.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "ops/index/concat.h"
#include "ops/index/cumsum.h"
#include "ops/index/flip.h"
#include "ops/index/gather.h"
#include "ops/index/nonzero.h"
#include "ops/index/sort.h"
#include "ops/index/triangle.h"
#include "tensor/cuda_plugin.h"
#include "tensor/view.h"
#include "tests/ops/op_case.h"

namespace tessera::testing {
namespace {

constexpr Device kGpu{DeviceType::cuda, 0};

class IndexDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  }
};

Tensor there(const Tensor& x) { return view::to(x, kGpu); }

Tensor values(const std::string& name, const Shape& shape, DType dtype, double lo = -3,
              double hi = 3) {
  return view::to(from_vector(hash_uniform(name, numel(shape), lo, hi), shape), dtype);
}

/// Row numbers in [0, size), with repeats.
Tensor rows(const std::string& name, const Shape& shape, int64_t size) {
  return values(name, shape, DType::i64, 0, static_cast<double>(size));
}

void expect_equal(const Tensor& got, const Tensor& want, const std::string& what) {
  ASSERT_EQ(got.device(), kGpu) << what;
  ASSERT_EQ(got.shape(), want.shape()) << what;
  ASSERT_EQ(got.dtype(), want.dtype()) << what;
  const Tensor a = view::to(view::contiguous(got), kCpu), b = view::contiguous(want);
  EXPECT_EQ(std::memcmp(a.raw_data(), b.raw_data(), static_cast<size_t>(b.nbytes())), 0) << what;
}

void expect_near(const Tensor& got, const Tensor& want, double tolerance, const std::string& what) {
  ASSERT_EQ(got.device(), kGpu) << what;
  ASSERT_EQ(got.shape(), want.shape()) << what;
  const std::vector<double> a = got.to_vector<double>(), b = want.to_vector<double>();
  for (size_t i = 0; i < a.size(); ++i)
    ASSERT_LE(std::abs(a[i] - b[i]), tolerance * std::max(1.0, std::abs(b[i]))) << what << ' ' << i;
}

const DType kAll[] = {DType::f32, DType::f64, DType::f16, DType::bf16,
                      DType::i64, DType::i32, DType::u8,  DType::boolean};

TEST_F(IndexDevice, MovesEveryDType) {
  for (DType dtype : kAll) {
    const std::string name(to_string(dtype));
    const Tensor x = values("move", {5, 8, 48}, dtype);  // 48: words of 16 bytes of any dtype
    expect_equal(flip(there(x), {0, 1}), flip(x, {0, 1}), name + " flip");
    expect_equal(flip(there(x), {2}), flip(x, {2}), name + " flip inner");
    expect_equal(triu(there(x), -2), triu(x, -2), name + " triu");
    expect_equal(tril(there(x), 3), tril(x, 3), name + " tril");
    const Tensor at = rows("at", {11}, 8), each = rows("each", {5, 3, 48}, 8);
    expect_equal(index_select(there(x), 1, there(at)), index_select(x, 1, at), name + " select");
    expect_equal(gather(there(x), 1, there(each)), gather(x, 1, each), name + " gather");
    const Tensor src = values("src", {5, 3, 48}, dtype);
    expect_equal(scatter(there(x), 1, there(each), there(src)), scatter(x, 1, each, src),
                 name + " scatter");
    expect_equal(nonzero(there(x)), nonzero(x), name + " nonzero");
    expect_equal(one_hot(there(at), 9, dtype), one_hot(at, 9, dtype), name + " one_hot");
    for (int axis : {0, 1, 2})
      expect_equal(concat({there(x), there(x), there(x)}, axis), concat({x, x, x}, axis),
                   cat(name, " concat ", axis));
  }
}

// Views that begin at an odd element, or whose rows have an odd length, allow narrow words only.
TEST_F(IndexDevice, MisalignedViews) {
  const Tensor x = values("odd", {6, 9, 17}, DType::f16);
  const Tensor wide = values("odd/wide", {6, 9, 17}, DType::f32), at = rows("odd/at", {7}, 9);
  for (const Tensor& t : {x, wide})
    for (int64_t start : {0, 1, 2}) {
      const auto cut = [=](const Tensor& whole) {
        return view::slice(view::slice(whole, 0, 1, 6), 2, start, start + 13);
      };
      const Tensor mine = cut(t), theirs = cut(there(t));
      const std::string what = cat(t.dtype(), " from ", start);
      expect_equal(flip(theirs, {1}), flip(mine, {1}), what);
      expect_equal(index_select(theirs, 1, there(at)), index_select(mine, 1, at), what);
      expect_equal(concat({theirs, theirs}, 1), concat({mine, mine}, 1), what);
    }
  const Tensor flat = values("odd/flat", {4001}, DType::u8), later = view::slice(flat, 0, 1, 4001);
  const Tensor later_there = view::slice(there(flat), 0, 1, 4001);
  expect_equal(concat({later_there, later_there}), concat({later, later}), "bytes");
}

TEST_F(IndexDevice, ConcatOfManyInputs) {
  Tensors mine, theirs;
  for (int64_t i = 0; i < 150; ++i) {
    mine.push_back(values(cat("many/", i), {3, i % 5, 4}, DType::f32));
    theirs.push_back(there(mine.back()));
  }
  expect_equal(concat(theirs, 1), concat(mine, 1), "150 inputs");
  const Tensor large = values("large", {2, 9000}, DType::f32),
               small = values("small", {2, 3}, DType::f32);
  expect_equal(concat({there(small), there(large)}, 1), concat({small, large}, 1),
               "several blocks");
}

// Tiles, merged runs, short columns that share a block, and cuts to the first k.
TEST_F(IndexDevice, SortsAnyLength) {
  for (int64_t n : {1, 2, 3, 33, 2047, 2048, 2049, 5000, 9001})
    for (bool descending : {false, true}) {
      const Tensor x = values(cat("sort/", n), {3, n}, DType::f32);
      const std::string what = cat(n, descending ? " down" : " up");
      expect_equal(argsort(there(x), 1, descending), argsort(x, 1, descending), what);
      for (int64_t k : {int64_t{1}, n / 2, std::min<int64_t>(n, 2500)})
        expect_equal(topk(there(x), k, 1, descending).indices, topk(x, k, 1, descending).indices,
                     cat(what, " first ", k));
    }
  const Tensor columns = values("columns", {2, 2500, 3}, DType::f64);
  expect_equal(argsort(there(columns), 1), argsort(columns, 1), "inner axis, 64-bit keys");
  const Tensor many = values("many columns", {700, 5, 3}, DType::f32);
  expect_equal(argsort(there(many), 1), argsort(many, 1), "short columns");
}

TEST_F(IndexDevice, SortKeepsTiesAndNan) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double inf = std::numeric_limits<double>::infinity();
  std::vector<double> v;
  for (size_t i = 0; i < 5000; ++i) {
    const double pool[] = {nan, 0.0, -0.0, inf, -inf, 1.0, -1.0, -nan};
    v.push_back(pool[i * 2654435761u / 7 % 8]);
  }
  for (DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16})
    for (int64_t n : {1000, 5000})
      for (bool descending : {false, true}) {
        const Tensor x = view::slice(view::to(from_vector(v), dtype), 0, 0, n);
        expect_equal(argsort(there(x), 0, descending), argsort(x, 0, descending),
                     cat(dtype, ' ', n, descending));
      }
  for (DType dtype : {DType::i64, DType::i32, DType::u8, DType::boolean}) {
    const Tensor x = values("ties", {5000}, dtype, dtype == DType::u8 ? 0 : -4, 4);
    for (bool descending : {false, true})
      expect_equal(argsort(there(x), 0, descending), argsort(x, 0, descending),
                   cat(dtype, descending));
  }
  const Tensor ends =
      from_vector(std::vector<int64_t>{INT64_MAX, INT64_MIN, 0, -1, INT64_MIN, INT64_MAX});
  for (bool descending : {false, true})
    expect_equal(argsort(there(ends), 0, descending), argsort(ends, 0, descending), "ends");
}

// Rows and columns, one chunk and several.
TEST_F(IndexDevice, CumsumOfAnyShape) {
  for (const Shape& shape : {Shape{40000}, Shape{2, 3000}, Shape{3, 1000, 3}, Shape{2, 1500, 17},
                             Shape{1, 700, 64}, Shape{5, 1, 40}})
    for (DType dtype : {DType::f32, DType::f64})
      for (bool reverse : {false, true}) {
        const Tensor x = values("cumsum", shape, dtype);
        const int axis = shape.rank() > 1 ? 1 : 0;
        expect_near(cumsum(there(x), axis, reverse), cumsum(x, axis, reverse),
                    dtype == DType::f64 ? 1e-11 : 1e-6, cat(dtype, ' ', shape, reverse));
      }
  for (DType dtype : {DType::i64, DType::i32, DType::u8}) {  // wraps in u8
    const Tensor x = values("cumsum", {2, 20000}, dtype, 0, 9);
    expect_equal(cumsum(there(x), 1), cumsum(x, 1), cat(dtype));
    expect_equal(cumsum(there(x), 0, true), cumsum(x, 0, true), cat(dtype));
  }
  for (DType half : {DType::f16, DType::bf16}) {
    const Tensor x = values("cumsum", {1, 4000}, half, 0, 0.01);
    expect_equal(cumsum(there(x), 1), cumsum(x, 1), cat(half));
  }
}

TEST_F(IndexDevice, NonzeroOverManyTiles) {
  std::vector<float> v(20000, 0.0f);
  EXPECT_EQ(nonzero(there(from_vector(v))).shape(), (Shape{0, 1}));
  for (size_t i : {size_t{0}, size_t{4095}, size_t{4096}, size_t{12288}, size_t{19999}}) v[i] = 1;
  v[7] = std::numeric_limits<float>::quiet_NaN();
  v[8] = -0.0f;
  const Tensor x = from_vector(v, {100, 200});
  expect_equal(nonzero(there(x)), nonzero(x), "few");
  const Tensor dense = values("dense", {9000}, DType::i32, -1, 3);
  expect_equal(nonzero_flat(there(dense)), nonzero_flat(dense), "dense");
  expect_equal(masked_select(there(dense), there(view::to(dense, DType::boolean))),
               masked_select(dense, view::to(dense, DType::boolean)), "masked");
}

// Few long columns are sorted by destination, many or short ones are added up one thread each.
TEST_F(IndexDevice, AddsToRepeatedPlaces) {
  struct Case {
    Shape x, src;
    int axis;
  };
  for (const Case& c : {Case{{50, 8}, {3000, 8}, 0}, Case{{2, 40, 3}, {2, 900, 3}, 1},
                        Case{{30, 5}, {9, 5}, 0}, Case{{3, 40000}, {20, 40000}, 0}})
    for (DType dtype :
         {DType::f32, DType::f64, DType::f16, DType::bf16, DType::i64, DType::i32, DType::u8}) {
      const Tensor x = values("add/x", c.x, dtype, 0, 3),
                   src = values("add/src", c.src, dtype, 0, 2);
      const Tensor each = rows("add/each", c.src, c.x[c.axis]);
      const Tensor at = rows("add/at", {c.src[c.axis]}, c.x[c.axis]);
      const double tolerance = dtype == DType::bf16  ? 0.01
                               : dtype == DType::f16 ? 2e-3
                               : dtype == DType::f32 ? 2e-5
                                                     : 1e-12;
      const std::string what = cat(dtype, ' ', c.x, c.src);
      const auto close = [&](const Tensor& got, const Tensor& want) {
        if (is_floating(dtype))
          expect_near(got, want, tolerance, what);
        else
          expect_equal(got, want, what);
      };
      Tensor sum = view::clone(there(x)), sum_here = view::clone(x);
      kernel::scatter_add(kGpu, there(src), c.axis, there(each), sum);
      kernel::scatter_add(kCpu, src, c.axis, each, sum_here);
      close(sum, sum_here);
      sum = view::clone(there(x)), sum_here = view::clone(x);
      kernel::index_add(kGpu, there(src), c.axis, there(at), sum);
      kernel::index_add(kCpu, src, c.axis, at, sum_here);
      close(sum, sum_here);
    }
}

// The last of several elements for one place wins, over any number of blocks.
TEST_F(IndexDevice, ScatterKeepsTheLast) {
  const Tensor x = values("last/x", {40, 3}, DType::f32),
               src = values("last/src", {40, 3}, DType::f32);
  const Tensor each = rows("last/each", {40, 3}, 5);
  expect_equal(scatter(there(x), 0, there(each), there(src)), scatter(x, 0, each, src), "columns");
  const Tensor flat = values("last/flat", {9}, DType::f64),
               many = values("last/many", {9}, DType::f64);
  const Tensor at = rows("last/at", {9}, 2);
  expect_equal(scatter(there(flat), 0, there(at), there(many)), scatter(flat, 0, at, many), "one");
}

TEST_F(IndexDevice, ReportsBadIndices) {
  const Tensor x = there(zeros({3, 4})), bad = there(from_vector(std::vector<int64_t>{0, 5}));
  const Tensor each = there(from_vector(std::vector<int64_t>{-1, 0}, {1, 2}));
  const auto reports = [](const auto& call, const std::string& op) {
    try {
      call();
      cuda_synchronize();
      ADD_FAILURE() << op << ": nothing was thrown";
    } catch (const ValueError& e) {
      EXPECT_NE(std::string(e.what()).find(op), std::string::npos) << e.what();
    }
  };
  reports([&] { index_select(x, 0, bad); }, "index_select");
  reports([&] { gather(x, 1, each); }, "gather");
  reports([&] { scatter(x, 1, each, there(zeros({1, 2}))); }, "scatter");
  reports([&] { one_hot(bad, 4); }, "one_hot");
  Tensor sum = there(zeros({3, 4}));
  reports([&] { kernel::index_add(kGpu, there(zeros({2, 4})), 0, bad, sum); }, "index_add");
  reports([&] { kernel::scatter_add(kGpu, there(zeros({1, 2})), 1, each, sum); }, "scatter_add");
  reports([&] { index_select(there(zeros({0, 4})), 0, bad); }, "index_select");
}

}  // namespace
}  // namespace tessera::testing

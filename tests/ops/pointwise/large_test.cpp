// Results larger than the caches are written past them, in pieces: they must be those of small
// ones.

#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/comparison.h"
#include "ops/pointwise/relu.h"
#include "ops/pointwise/where.h"
#include "tensor/parallel.h"
#include "tensor/stream.h"
#include "tensor/view.h"

namespace tessera {
namespace {

using Op = std::function<Tensor(const Tensor& x, const Tensor& row)>;
constexpr int64_t kColumns = 1001;  // so that rows begin anywhere in a line

int64_t least_streamed() {
  int64_t bytes = int64_t{1} << 20;
  while (!worth_streaming(bytes) && bytes < (int64_t{64} << 20)) bytes += int64_t{1} << 20;
  return bytes;
}

// op on (rows, kColumns) and (kColumns) against op on each row.
void expect_as_in_pieces(DType in, DType out, const Op& op) {
  if (!worth_streaming(least_streamed())) GTEST_SKIP() << "the last cache is too large";
  const int64_t rows = least_streamed() / (kColumns * size_of(out)) + 1;
  const Tensor row = view::to(arange(kColumns), in);
  Tensor x = empty({rows, kColumns}, in);
  copy_(x, view::broadcast_to(row, x.shape()));
  const Tensor first = view::slice(x, 0, 0, 1);
  set_num_threads(3);  // ranges that begin inside lines
  const Tensor y = op(x, row);
  set_num_threads(0);
  ASSERT_EQ(y.dtype(), out);
  ASSERT_TRUE(worth_streaming(y.nbytes()));
  const Tensor want = op(first, row);
  const auto bytes = static_cast<size_t>(want.nbytes());
  for (int64_t r = 0; r < rows; ++r)
    ASSERT_EQ(std::memcmp(static_cast<const std::byte*>(y.raw_data()) + r * want.nbytes(),
                          want.raw_data(), bytes),
              0)
        << "row " << r;
}

TEST(LargePointwise, OneOperand) {
  for (DType t : {DType::f32, DType::f64, DType::f16, DType::bf16})
    expect_as_in_pieces(t, t, [](const Tensor& x, const Tensor&) { return affine(x, -0.5, 3); });
}

TEST(LargePointwise, TwoOperands) {
  for (DType t : {DType::f32, DType::i64})
    expect_as_in_pieces(t, t, [](const Tensor& x, const Tensor&) { return x * x; });
}

TEST(LargePointwise, OperandPerRowAndScalar) {
  expect_as_in_pieces(DType::f32, DType::f32,
                      [](const Tensor& x, const Tensor& row) { return x + row; });
  expect_as_in_pieces(DType::f32, DType::f32, [](const Tensor& x, const Tensor&) {
    return where(gt(x, 500.0), x, zeros({}));
  });
}

TEST(LargePointwise, NarrowerResult) {
  expect_as_in_pieces(DType::f16, DType::boolean,
                      [](const Tensor& x, const Tensor&) { return gt(x, 300.0); });
}

TEST(LargePointwise, InPlace) {
  expect_as_in_pieces(DType::f32, DType::f32, [](const Tensor& x, const Tensor&) {
    Tensor y = view::clone(x);
    add_(y, x);
    return y;
  });
}

}  // namespace
}  // namespace tessera

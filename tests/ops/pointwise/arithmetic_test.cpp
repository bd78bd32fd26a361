// Integers, in-place forms and shapes without elements, which the generic suites do not reach.

#include <gtest/gtest.h>

#include <limits>

#include "autograd/engine.h"
#include "ops/index/view.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/extrema.h"
#include "tensor/view.h"

namespace tessera {
namespace {

using V = std::vector<double>;

Tensor integers(const V& values, DType dtype) { return view::to(from_vector(values), dtype); }

TEST(Arithmetic, ScalarsWrapInUnsignedTensors) {
  const Tensor x = integers({1, 2, 3}, DType::u8);
  EXPECT_EQ((x - 1.0).to_vector<int>(), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ((-x).to_vector<int>(), (std::vector<int>{255, 254, 253}));
  EXPECT_EQ(affine(x, -1, 5).to_vector<int>(), (std::vector<int>{4, 3, 2}));
}

TEST(Arithmetic, IntegersTakeWholeScalars) {
  Tensor x = integers({4, 8}, DType::i32);
  EXPECT_THROW(x * 0.5, ValueError);
  EXPECT_THROW(x + 1e300, ValueError);
  EXPECT_THROW(x + std::numeric_limits<double>::infinity(), ValueError);
  EXPECT_THROW(affine_(x, 1, 0.5), ValueError);
  EXPECT_THROW(add_scaled_(x, x, 0.5), ValueError);
  EXPECT_THROW(lerp_(x, x, 0.5), DTypeError);
  add_scaled_(x, x, -1);
  EXPECT_EQ(x.to_vector<int>(), (std::vector<int>{0, 0}));
}

TEST(Arithmetic, LowestOverMinusOneWraps) {
  const int64_t lowest = std::numeric_limits<int64_t>::lowest();
  EXPECT_EQ(
      div(from_vector<int64_t>({lowest, 7}), from_vector<int64_t>({-1, -1})).to_vector<int64_t>(),
      (std::vector<int64_t>{lowest, -7}));
  const int32_t least = std::numeric_limits<int32_t>::lowest();
  EXPECT_EQ(div(from_vector<int32_t>({least}), from_vector<int32_t>({-1})).to_vector<int32_t>(),
            (std::vector<int32_t>{least}));
  EXPECT_THROW(div(from_vector<int32_t>({1}), from_vector<int32_t>({0})), ValueError);
}

TEST(Arithmetic, InPlaceOperandMayBeAViewOfTheTarget) {
  const auto matrix = [] { return from_vector(V{1, 2, 3, 4}, {2, 2}); };
  Tensor a = matrix();
  add_(a, view::slice(a, 0, 0, 1));
  EXPECT_EQ(a.to_vector<double>(), (V{2, 4, 4, 6}));
  a = matrix();
  add_(a, view::transpose(a, 0, 1));
  EXPECT_EQ(a.to_vector<double>(), (V{2, 5, 5, 8}));
  a = matrix();
  mul_(a, view::select(view::select(a, 0, 0), 0, 1));
  EXPECT_EQ(a.to_vector<double>(), (V{2, 4, 6, 8}));
  a = matrix();
  lerp_(a, view::slice(a, 1, 1, 2), 0.5);
  EXPECT_EQ(a.to_vector<double>(), (V{1.5, 2, 3.5, 4}));
  add_(a, a);
  EXPECT_EQ(a.to_vector<double>(), (V{3, 4, 7, 8}));
}

TEST(Arithmetic, DTypesMustAgree) {
  const Tensor f = ones({2}), d = ones({2}, DType::f64), b = ones({2}, DType::boolean);
  EXPECT_THROW(f + d, DTypeError);
  EXPECT_THROW(f * integers({1, 2}, DType::i64), DTypeError);
  EXPECT_THROW(maximum(f, d), DTypeError);
  EXPECT_THROW(b + b, DTypeError);
}

// Constant operands take loops of their own in every position.
TEST(Arithmetic, BroadcastsInEveryPosition) {
  const Tensor row = from_vector(V{1, 2, 4}, {1, 3}), column = from_vector(V{10, 20}, {2, 1});
  EXPECT_EQ((row - column).to_vector<double>(), (V{-9, -8, -6, -19, -18, -16}));
  EXPECT_EQ((column - row).to_vector<double>(), (V{9, 8, 6, 19, 18, 16}));
  const Tensor one = ones({}, DType::f64), wide = view::broadcast_to(one, {2, 3});
  EXPECT_EQ((wide - one * 3.0).to_vector<double>(), V(6, -2));
  EXPECT_EQ((wide - row).to_vector<double>(), (V{0, -1, -3, 0, -1, -3}));
}

TEST(Arithmetic, GradientsOverEmptyAxes) {
  for (const Shape& shape : {Shape{1}, Shape{}, Shape{3, 1}}) {
    SCOPED_TRACE(shape);
    Tensor a = ones(shape).set_requires_grad(true);
    for (const Tensor& y : {a * zeros({3, 0}), a + zeros({3, 0}), maximum(a, zeros({3, 0}))}) {
      ASSERT_EQ(y.shape(), (Shape{3, 0}));
      const Tensor g = grad({y}, {a}, {ones({3, 0})})[0];
      EXPECT_EQ(g.shape(), shape);
      for (float v : g.to_vector<float>()) EXPECT_EQ(v, 0);
    }
  }
}

}  // namespace
}  // namespace tessera

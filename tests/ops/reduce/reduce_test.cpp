// Half types, zeros, ties and NaN under reductions.

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/engine.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/reduce/extreme.h"
#include "ops/reduce/moments.h"
#include "ops/reduce/product.h"
#include "ops/reduce/sum.h"
#include "tensor/view.h"

namespace tessera {
namespace {

using V = std::vector<double>;

Tensor leaf(const V& values, const Shape& shape) {
  return from_vector(values, shape).set_requires_grad(true);
}

TEST(Mean, HalfTypesDoNotOverflow) {
  EXPECT_EQ(mean(ones({70000}, DType::f16)).item(), 1);
  Tensor x = full({4}, 60000, DType::f16).set_requires_grad(true);
  const Tensor m = mean(x);
  EXPECT_EQ(m.dtype(), DType::f16);
  EXPECT_EQ(m.item(), 60000);
  EXPECT_EQ(grad({m}, {x})[0].to_vector<double>(), V(4, 0.25));
}

TEST(Reduce, AnAxisGivenTwiceIsAnError) {
  EXPECT_THROW(sum(ones({2, 3}), {0, 0}), ValueError);
  EXPECT_THROW(amax(ones({2, 3}), {1, -1}), ValueError);
}

// H of g . grad(prod) by hand: for x = (a, b, c) the gradient is (bc, ac, ab).
TEST(Prod, SecondOrderAtZeros) {
  const auto second = [](const V& values) {
    Tensor x = leaf(values, {3});
    const Tensor g = grad({prod(x)}, {x}, {}, {.create_graph = true})[0];
    return grad({sum(g * from_vector(V{1, 10, 100}))}, {x})[0].to_vector<double>();
  };
  EXPECT_EQ(second({0, 2, 3}), (V{230, 3, 2}));
  EXPECT_EQ(second({0, 0, 3}), (V{30, 3, 0}));
  EXPECT_EQ(second({2, 3, 4}), (V{340, 204, 23}));
}

TEST(Prod, GradientOverSeveralAxes) {
  Tensor x = leaf({1, 0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, {2, 3, 2});
  const Tensor y = prod(x, {0, 2});
  EXPECT_EQ(y.to_vector<double>(), (V{0, 3 * 4 * 9 * 10, 5 * 6 * 11 * 12}));
  EXPECT_EQ(grad({sum(y)}, {x})[0].to_vector<double>(),
            (V{0, 56, 360, 270, 792, 660, 0, 0, 120, 108, 360, 330}));
  Tensor none = leaf({}, {2, 0});
  EXPECT_EQ(prod(none, {1}).to_vector<double>(), (V{1, 1}));
  EXPECT_EQ(grad({sum(prod(none, {1}))}, {none})[0].shape(), (Shape{2, 0}));
  Tensor scalar = leaf({3}, {});
  EXPECT_EQ(grad({prod(scalar)}, {scalar})[0].item(), 1);
}

TEST(Reduce, NothingToReduce) {
  EXPECT_EQ(sum(zeros({0})).item(), 0);
  EXPECT_TRUE(std::isnan(mean(zeros({0})).item()));
  EXPECT_EQ(sum(zeros({2, 0, 3}), {1}).to_vector<double>(), V(6, 0));
  EXPECT_EQ(sum(zeros({2, 0, 3}), {0}).shape(), (Shape{0, 3}));
  EXPECT_THROW(amax(zeros({2, 0}), {1}), ShapeError);
  EXPECT_EQ(amax(zeros({0, 2}), {1}).shape(), (Shape{0}));
  EXPECT_THROW(argmax(zeros({0})), ShapeError);
}

TEST(Extreme, FirstNanThenFirstOfEquals) {
  const Tensor x = from_vector(V{1, 5, 5, NAN, 2, NAN, -1, -1, 3}, {3, 3});
  EXPECT_EQ(argmax(x, 1).to_vector<int64_t>(), (std::vector<int64_t>{1, 0, 2}));
  EXPECT_EQ(argmin(x, 1).to_vector<int64_t>(), (std::vector<int64_t>{0, 0, 0}));
  EXPECT_EQ(argmax(x, 0).to_vector<int64_t>(), (std::vector<int64_t>{1, 0, 1}));
  EXPECT_TRUE(std::isnan(amin(x).item()));
  Tensor ties = leaf({2, 7, 7, 1}, {4});
  EXPECT_EQ(grad({amax(ties)}, {ties})[0].to_vector<double>(), (V{0, 0.5, 0.5, 0}));
  EXPECT_EQ(grad({max_with_indices(ties, 0).values}, {ties})[0].to_vector<double>(),
            (V{0, 1, 0, 0}));
}

TEST(Norm, GradientsOfEveryOrderAreZeroAtZero) {
  Tensor x = leaf({0, 0}, {2});
  const Tensor g = grad({norm(x)}, {x}, {}, {.create_graph = true})[0];
  EXPECT_EQ(g.to_vector<double>(), (V{0, 0}));
  EXPECT_EQ(grad({sum(g)}, {x})[0].to_vector<double>(), (V{0, 0}));
}

// Wide enough that tiles of columns finish on their own, and not a multiple of a tile.
TEST(Sum, ManyColumns) {
  const int64_t columns = 20 * 1024 + 7;
  const Tensor x = view::broadcast_to(arange(columns, DType::f64), {3, columns});
  const V y = sum(view::clone(x), {0}).to_vector<double>();
  for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], 3 * static_cast<double>(i));
}

}  // namespace
}  // namespace tessera

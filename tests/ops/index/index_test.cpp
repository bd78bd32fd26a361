// Integer and dynamic results, and element types that the generic suites do not reach.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "autograd/engine.h"
#include "ops/index/concat.h"
#include "ops/index/cumsum.h"
#include "ops/index/flip.h"
#include "ops/index/gather.h"
#include "ops/index/nonzero.h"
#include "ops/index/sort.h"
#include "ops/index/triangle.h"
#include "tensor/view.h"

namespace tessera {
namespace {

using I64 = std::vector<int64_t>;
const DType kEveryDType[] = {DType::f32, DType::f64, DType::f16, DType::bf16,
                             DType::i64, DType::i32, DType::u8,  DType::boolean};

TEST(Nonzero, CoordinatesAreRowMajor) {
  const Tensor x = from_vector<float>({0, 2, 0, -1, 0, NAN}, {2, 3});
  EXPECT_EQ(nonzero_flat(x).to_vector<int64_t>(), (I64{1, 3, 5}));
  EXPECT_EQ(nonzero(x).to_vector<int64_t>(), (I64{0, 1, 1, 0, 1, 2}));
  EXPECT_EQ(nonzero(x).shape(), (Shape{3, 2}));
  EXPECT_EQ(nonzero(zeros({2, 3})).shape(), (Shape{0, 2}));
  EXPECT_EQ(nonzero(ones({})).shape(), (Shape{1, 0}));
  EXPECT_EQ(nonzero(view::permute(x, {1, 0})).to_vector<int64_t>(), (I64{0, 1, 1, 0, 2, 1}));
}

TEST(OneHot, MarksTheIndex) {
  const Tensor y = one_hot(from_vector<int64_t>({2, 0}, {2, 1}), 3);
  EXPECT_EQ(y.shape(), (Shape{2, 1, 3}));
  EXPECT_EQ(y.to_vector<float>(), (std::vector<float>{0, 0, 1, 1, 0, 0}));
  EXPECT_EQ(one_hot(from_vector<int64_t>({1}), 2, DType::boolean).dtype(), DType::boolean);
}

TEST(Sort, NanIsTheLargest) {
  const float inf = std::numeric_limits<float>::infinity();
  const Tensor x = from_vector<float>({1, NAN, inf, -inf, NAN, 0});
  EXPECT_EQ(argsort(x).to_vector<int64_t>(), (I64{3, 5, 0, 2, 1, 4}));
  EXPECT_EQ(argsort(x, 0, true).to_vector<int64_t>(), (I64{1, 4, 2, 0, 5, 3}));
  EXPECT_EQ(topk(x, 3).indices.to_vector<int64_t>(), (I64{1, 4, 2}));
  EXPECT_EQ(topk(x, 2, 0, false).indices.to_vector<int64_t>(), (I64{3, 5}));
}

TEST(Sort, TopkKeepsTheOrderOfTies) {
  I64 values(1000, 5), first(20);
  for (size_t i = 0; i < first.size(); ++i) first[i] = static_cast<int64_t>(i);
  EXPECT_EQ(topk(from_vector(values), 20).indices.to_vector<int64_t>(), first);
  EXPECT_EQ(topk(from_vector(values), 0).values.shape(), (Shape{0}));
}

TEST(Index, MovesEveryDType) {
  const Tensor index = from_vector<int64_t>({1, 0, 1}, {3});
  for (DType dtype : kEveryDType) {
    SCOPED_TRACE(to_string(dtype));
    const Tensor x = view::to(from_vector<float>({0, 1, 1, 0}, {2, 2}), dtype);
    const auto values = [&](const Tensor& t) {
      EXPECT_EQ(t.dtype(), dtype);
      return t.to_vector<int64_t>();
    };
    EXPECT_EQ(values(index_select(x, 0, index)), (I64{1, 0, 0, 1, 1, 0}));
    EXPECT_EQ(values(gather(x, 1, from_vector<int64_t>({1, 1}, {2, 1}))), (I64{1, 0}));
    EXPECT_EQ(values(concat({x, x}, 1)), (I64{0, 1, 0, 1, 1, 0, 1, 0}));
    EXPECT_EQ(values(flip(x, {1})), (I64{1, 0, 0, 1}));
    EXPECT_EQ(values(triu(ones_like(x))), (I64{1, 1, 0, 1}));
    EXPECT_EQ(values(sort(x).values), (I64{0, 1, 0, 1}));
    EXPECT_EQ(values(scatter(x, 1, from_vector<int64_t>({0, 0}, {2, 1}),
                             view::reshape(view::slice(x, 1, 0, 1), {2, 1}))),
              (I64{0, 1, 1, 0}));
  }
}

TEST(Index, IntegersAreSummedExactly) {
  const int64_t big = int64_t{1} << 60;
  const Tensor x = from_vector<int64_t>({big, 1, 1});
  EXPECT_EQ(cumsum(x, 0).to_vector<int64_t>(), (I64{big, big + 1, big + 2}));
  EXPECT_EQ(index_add(x, 0, from_vector<int64_t>({0, 0}), from_vector<int64_t>({1, 2}))
                .to_vector<int64_t>(),
            (I64{big + 3, 1, 1}));
}

TEST(Index, LaterWritesWinInScatter) {
  const Tensor y =
      scatter(zeros({2}), 0, from_vector<int64_t>({1, 1, 1}), from_vector<float>({5, 6, 7}));
  EXPECT_EQ(y.to_vector<float>(), (std::vector<float>{0, 7}));
}

TEST(Index, SumsOfHalfTypesAreRoundedOnce) {
  const Tensor index = zeros({5000}, DType::i64), zero = zeros({1}, DType::f16),
               one = ones({5000}, DType::f16);
  EXPECT_EQ(index_add(zero, 0, index, one).item(), 5000);
  EXPECT_EQ(scatter_add(zero, 0, index, one).item(), 5000);
}

TEST(Index, AnOverwrittenIndexIsNoticed) {
  for (Tensor (*op)(const Tensor&, int64_t, const Tensor&) : {gather, index_select}) {
    Tensor x = from_vector<float>({1, 2, 3}).set_requires_grad(true);
    Tensor index = from_vector<int64_t>({0, 1});
    const Tensor y = op(x, 0, index);
    fill_(index, 2);
    EXPECT_THROW(grad({y}, {x}, {ones({2})}), Error);
  }
}

TEST(Index, OutOfRangeIsAnError) {
  const Tensor x = ones({3}), one = ones({1});
  for (int64_t bad : {int64_t{-1}, int64_t{3}, std::numeric_limits<int64_t>::lowest(),
                      std::numeric_limits<int64_t>::max()}) {
    const Tensor index = from_vector<int64_t>({bad});
    EXPECT_THROW(gather(x, 0, index), ValueError);
    EXPECT_THROW(scatter(x, 0, index, one), ValueError);
    EXPECT_THROW(scatter_add(x, 0, index, one), ValueError);
    EXPECT_THROW(index_select(x, 0, index), ValueError);
    EXPECT_THROW(index_add(x, 0, index, one), ValueError);
    EXPECT_THROW(one_hot(index, 3), ValueError);
  }
  EXPECT_THROW(gather(zeros({0}), 0, from_vector<int64_t>({0})), ValueError);
  EXPECT_EQ(gather(zeros({0}), 0, zeros({0}, DType::i64)).shape(), (Shape{0}));
}

TEST(Cumsum, EmptyAndSingleAxes) {
  for (const Shape& shape : {Shape{2, 0, 3}, Shape{2, 1, 3}, Shape{0, 4, 1}, Shape{1}}) {
    SCOPED_TRACE(shape);
    const int64_t axis = shape.rank() > 1 ? 1 : 0;
    Tensor x = ones(shape).set_requires_grad(true);
    const Tensor y = cumsum(x, axis);
    ASSERT_EQ(y.shape(), shape);
    const Tensor g = grad({y}, {x}, {ones(shape)})[0];
    EXPECT_EQ(g.shape(), shape);
    for (float v : y.to_vector<float>()) EXPECT_EQ(v, 1);
  }
}

TEST(Split, PiecesAreViews) {
  const Tensor x = zeros({4, 2});
  const Tensors pieces = split(x, {1, 3}, 0);
  EXPECT_TRUE(pieces[1].shares_storage(x));
  EXPECT_EQ(chunk(zeros({0, 2}), 3).size(), 1u);
  EXPECT_EQ(chunk(zeros({5}), 4).size(), 3u);  // 2, 2, 1
}

}  // namespace
}  // namespace tessera

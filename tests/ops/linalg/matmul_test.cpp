// Operands that repeat one matrix, and sizes of zero.

#include <gtest/gtest.h>

#include "autograd/engine.h"
#include "ops/index/view.h"
#include "ops/linalg/matmul.h"
#include "ops/reduce/sum.h"
#include "tensor/view.h"

namespace tessera {
namespace {

template <class T>
std::vector<T> counted(size_t n) {
  std::vector<T> v(n);
  for (size_t i = 0; i < n; ++i) v[i] = static_cast<T>(i);
  return v;
}

TEST(Bmm, BothOperandsMayRepeatOneMatrix) {
  for (DType dtype : {DType::f32, DType::f64}) {
    SCOPED_TRACE(to_string(dtype));
    const Tensor a = view::to(from_vector(counted<double>(6), {1, 2, 3}), dtype);
    const Tensor b = view::to(from_vector(counted<double>(12), {1, 3, 4}), dtype);
    const std::vector<double> one = bmm(a, b).to_vector<double>();
    const Tensor y = bmm(view::broadcast_to(a, {3, 2, 3}), view::broadcast_to(b, {3, 3, 4}));
    ASSERT_EQ(y.shape(), (Shape{3, 2, 4}));
    const std::vector<double> all = y.to_vector<double>();
    for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], one[i % one.size()]);
  }
}

// The gradient of a sum over the batch repeats one matrix, and so may the other operand.
TEST(Bmm, GradientOfASumOverTheBatch) {
  Tensor a = from_vector(counted<float>(12), {2, 2, 3}).set_requires_grad(true);
  const Tensor b = view::broadcast_to(ones({1, 3, 4}), {2, 3, 4});
  const Tensor g = grad({sum(bmm(a, b), {0})}, {a}, {ones({2, 4})})[0];
  EXPECT_EQ(g.to_vector<float>(), std::vector<float>(12, 4));
}

TEST(Matmul, SizesOfZero) {
  struct Sizes {
    Shape a, b, y;
  };
  for (const Sizes& s :
       {Sizes{{2, 0}, {0, 3}, {2, 3}}, Sizes{{0, 4}, {4, 3}, {0, 3}}, Sizes{{2, 4}, {4, 0}, {2, 0}},
        Sizes{{5, 0, 3}, {1, 3, 2}, {5, 0, 2}}, Sizes{{0, 2, 3}, {3, 2}, {0, 2, 2}},
        Sizes{{0}, {0}, {}}, Sizes{{4, 2, 0}, {0}, {4, 2}}}) {
    SCOPED_TRACE(cat(s.a, " x ", s.b));
    Tensor a = zeros(s.a).set_requires_grad(true), b = zeros(s.b).set_requires_grad(true);
    const Tensor y = matmul(a, b);
    ASSERT_EQ(y.shape(), s.y);
    for (float v : y.to_vector<float>()) EXPECT_EQ(v, 0);
    const Tensors g = grad({y}, {a, b}, {ones(s.y)});
    EXPECT_EQ(g[0].shape(), s.a);
    EXPECT_EQ(g[1].shape(), s.b);
  }
  const Tensor bias = linear(zeros({2, 0}), zeros({3, 0}), ones({3}));
  EXPECT_EQ(bias.to_vector<float>(), std::vector<float>(6, 1));
}

}  // namespace
}  // namespace tessera

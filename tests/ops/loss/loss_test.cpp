// Corners of the losses: certainty, ignored rows, kinks, half types, targets that change.

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/engine.h"
#include "ops/loss/binary.h"
#include "ops/loss/cross_entropy.h"
#include "ops/loss/divergence.h"
#include "ops/loss/regression.h"
#include "ops/reduce/sum.h"
#include "tensor/view.h"

namespace tessera {
namespace {

using V = std::vector<double>;
using I = std::vector<int64_t>;

Tensor leaf(const V& values, const Shape& shape) {
  return from_vector(values, shape).set_requires_grad(true);
}

TEST(NllLoss, ReadsTheTargetsEntryAlone) {
  Tensor x = leaf({-INFINITY, 0, -1, -2, -INFINITY, 0}, {3, 2});
  const Tensor y = nll_loss(x, from_vector(I{1, 0, -100}), {.reduction = Reduction::none});
  EXPECT_EQ(y.to_vector<double>(), (V{0, 1, 0}));
  EXPECT_EQ(grad({sum(y)}, {x})[0].to_vector<double>(), (V{0, -1, -1, 0, 0, 0}));
}

TEST(NllLoss, WeightsTheMean) {
  const Tensor x = from_vector(V{-1, -2, -3, -4}, {2, 2}), w = from_vector(V{1, 3});
  EXPECT_DOUBLE_EQ(nll_loss(x, from_vector(I{0, 1}), {.weight = w}).item(), (1 + 3 * 4) / 4.0);
}

TEST(CrossEntropy, EverythingIgnored) {
  Tensor x = leaf({1, 2, 3, 4}, {2, 2});
  const Tensor ignored = from_vector(I{-100, -100});
  const Tensor y = cross_entropy(x, ignored);
  EXPECT_TRUE(std::isnan(y.item()));
  EXPECT_EQ(grad({y}, {x})[0].to_vector<double>(), V(4, 0));
  EXPECT_EQ(cross_entropy(x, ignored, {.reduction = Reduction::sum}).item(), 0);
}

TEST(CrossEntropy, OverwrittenTargetsAreNoticed) {
  Tensor x = leaf({1, 2, 3}, {1, 3});
  Tensor target = from_vector(I{0}), weight = ones({3}, DType::f64);
  const Tensor a = cross_entropy(x, target);
  fill_(target, 2);
  EXPECT_THROW(grad({a}, {x}), Error);
  const Tensor b = cross_entropy(x, target, {.weight = weight});
  fill_(weight, 2);
  EXPECT_THROW(grad({b}, {x}), Error);
}

TEST(Losses, MeansOfHalfTypesDoNotOverflow) {
  const Tensor x = full({70000}, 2, DType::f16), zero = zeros({70000}, DType::f16);
  EXPECT_EQ(mse_loss(x, zero).item(), 4);
  EXPECT_EQ(l1_loss(x, zero).item(), 2);
  const Tensor logits = zeros({100000, 2}, DType::f16), targets = zeros({100000}, DType::i64);
  EXPECT_NEAR(cross_entropy(logits, targets).item(), std::log(2.0), 1e-3);
}

TEST(HuberLoss, SecondOrderAtZeroAndAtTheKink) {
  const auto second = [](Tensor (*loss)(const Tensor&, const Tensor&)) {
    Tensor x = leaf({0, 1, -1, 2, 0.5}, {5});
    const Tensor y = loss(x, zeros({5}, DType::f64));
    const Tensor g = grad({y}, {x}, {}, {.create_graph = true})[0];
    EXPECT_EQ(g.to_vector<double>(), (V{0, 1, -1, 1, 0.5}));
    return grad({sum(g)}, {x})[0].to_vector<double>();
  };
  EXPECT_EQ(second([](const Tensor& x, const Tensor& t) {
              return huber_loss(x, t, {.reduction = Reduction::sum});
            }),
            (V{1, 0, 0, 0, 1}));
  EXPECT_EQ(second([](const Tensor& x, const Tensor& t) {
              return smooth_l1_loss(x, t, {.reduction = Reduction::sum});
            }),
            (V{1, 0, 0, 0, 1}));
}

TEST(BceLoss, CertainProbabilities) {
  Tensor p = leaf({0, 1, 0, 1}, {4});
  const Tensor y = bce_loss(p, from_vector(V{0, 1, 1, 0}), {.reduction = Reduction::none});
  EXPECT_EQ(y.to_vector<double>(), (V{0, 0, 100, 100}));
  EXPECT_EQ(grad({sum(y)}, {p})[0].to_vector<double>(), (V{0, 0, -1e12, 1e12}));
  EXPECT_THROW(bce_loss(from_vector(V{1.5}), from_vector(V{1})), ValueError);
}

TEST(KlDiv, ZeroProbabilitiesAddNothing) {
  Tensor x = leaf({-1, -2}, {2});
  const Tensor y = kl_div(x, from_vector(V{0, 1}), {.reduction = Reduction::none});
  EXPECT_EQ(y.to_vector<double>(), (V{0, 2}));
  EXPECT_EQ(grad({sum(y)}, {x})[0].to_vector<double>(), (V{0, -1}));
}

}  // namespace
}  // namespace tessera

#include "nn/layers/conv_norm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/engine.h"
#include "nn/init.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/random/random.h"
#include "ops/reduce/sum.h"
#include "tensor/allocator.h"
#include "tensor/view.h"

namespace tessera::nn {
namespace {

struct Layers {
  std::shared_ptr<Conv2d> conv = std::make_shared<Conv2d>(6, 10, 3, Conv2d::Options{.padding = 1});
  std::shared_ptr<BatchNorm> norm = std::make_shared<BatchNorm>(10);
  Generator generator{3};
  Tensor x = randn({2, 5, 7, 6}, generator);
  Tensor residual = randn({2, 5, 7, 10}, generator);

  Layers() {
    init::uniform_(norm->weight.detach(), 0.5, 1.5, generator);
    init::uniform_(norm->bias.detach(), -1, 1, generator);
    init::uniform_(norm->running_mean, -1, 1, generator);
    init::uniform_(norm->running_var, 0.5, 2, generator);
  }
  Tensor plain(Activation activation) const {
    return activate(norm->forward(conv->forward(x)) + residual, activation);
  }
};

void expect_near(const Tensor& got, const Tensor& want, double bound) {
  const std::vector<double> a = got.to_vector<double>(), b = want.to_vector<double>();
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], bound);
}

TEST(ConvNorm, FoldedEqualsTheLayers) {
  Layers l;
  l.norm->eval();
  ConvNorm fused(l.conv, l.norm);
  NoGradGuard off;
  for (Activation a : {Activation::none, Activation::relu, Activation::relu6})
    expect_near(fused.forward(l.x, a, l.residual), l.plain(a), 1e-5);
}

TEST(ConvNorm, FollowsEveryChangeOfItsTensors) {
  Layers l;
  l.norm->eval();
  ConvNorm fused(l.conv, l.norm);
  NoGradGuard off;
  for (Tensor t : {l.conv->weight, l.conv->bias, l.norm->weight, l.norm->bias, l.norm->running_mean,
                   l.norm->running_var}) {
    fused.forward(l.x, Activation::relu, l.residual);
    affine_(t, 1.5, 0.1);
    expect_near(fused.forward(l.x, Activation::relu, l.residual), l.plain(Activation::relu), 2e-5);
    t.set_data(view::clone(affine(t.detach(), 0.5, 0.2)));  // another storage
    expect_near(fused.forward(l.x, Activation::relu, l.residual), l.plain(Activation::relu), 2e-5);
  }
}

TEST(ConvNorm, RecordsAndTrainsLikeTheLayers) {
  Layers l;
  ConvNorm fused(l.conv, l.norm);
  const double before = l.norm->running_mean.to_vector<double>()[0];
  const Tensor y = fused.forward(l.x, Activation::relu, l.residual);
  EXPECT_TRUE(y.requires_grad());
  EXPECT_NE(l.norm->running_mean.to_vector<double>()[0], before);
  l.norm->eval();
  EXPECT_TRUE(
      fused.forward(l.x, Activation::relu, l.residual).requires_grad());  // recorded: not folded
}

// The epilogue of the norm is the separate operators to the last bit, so training is too.
TEST(ConvNorm, GradientsAndStatisticsEqualTheLayers) {
  for (const bool training : {true, false})
    for (Activation a : {Activation::none, Activation::relu, Activation::relu6}) {
      Layers one, two;
      for (Layers* l : {&one, &two}) {
        l->norm->train(training);
        l->x.set_requires_grad(true);
        l->residual.set_requires_grad(true);
      }
      ConvNorm fused(one.conv, one.norm);
      two.conv->load_state_dict(one.conv->state_dict());
      const Tensor y = fused.forward(one.x, a, one.residual), want = two.plain(a);
      expect_near(y, want, 0);
      backward(sum(y * y));
      backward(sum(want * want));
      for (const auto& [p, q] : {std::pair{one.x, two.x},
                                 {one.residual, two.residual},
                                 {one.conv->weight, two.conv->weight},
                                 {one.norm->weight, two.norm->weight},
                                 {one.norm->bias, two.norm->bias}})
        expect_near(p.grad(), q.grad(), 0);
      for (size_t i = 0; i < one.norm->named_buffers().size(); ++i)
        expect_near(one.norm->named_buffers()[i].tensor, two.norm->named_buffers()[i].tensor, 0);
      EXPECT_EQ(one.norm->num_batches_tracked.item(), training ? 1 : 0);
    }
}

// One operator after the convolution, and no tensor between its input and its result.
TEST(ConvNorm, TrainingKeepsTwoTensorsPerLayer) {
  Layers l;
  ConvNorm fused(l.conv, l.norm);
  for (int i = 0; i < 2; ++i) fused.forward(l.x, Activation::relu, l.residual);  // packs weights
  const auto live = [] { return allocator(kCpu).stats().live; };
  const auto before = live();
  const Tensor y = fused.forward(l.x, Activation::relu, l.residual);
  const auto size = [](const Tensor& t) { return static_cast<int64_t>(t.nbytes()); };
  // The convolution's result and y, each rounded up to a size class, and the statistics.
  EXPECT_LE(static_cast<int64_t>(live() - before), 2 * size(y) * 5 / 4 + 2048);
}

TEST(ConvNorm, RefusesAnActivationBeforeTheNorm) {
  const auto conv =
      std::make_shared<Conv2d>(6, 10, 3, Conv2d::Options{.activation = Activation::relu});
  EXPECT_THROW(ConvNorm(conv, std::make_shared<BatchNorm>(10)), ValueError);
}

TEST(Conv2d, ItsActivationIsTheOperator) {
  Generator generator{4};
  const Tensor x = randn({2, 5, 7, 6}, generator);
  for (Activation a : {Activation::none, Activation::relu, Activation::relu6}) {
    Conv2d conv(6, 10, 3, {.padding = 1, .activation = a});
    init::uniform_(conv.bias.detach(), -12, 12, generator);
    const Tensor want = activate(conv2d(x, conv.weight, conv.bias, {.padding = 1}), a);
    const Tensor recorded = conv.forward(x);
    EXPECT_TRUE(recorded.requires_grad());
    expect_near(recorded, want, 1e-5);
    NoGradGuard off;
    expect_near(conv.forward(x), want, 1e-5);
  }
}

}  // namespace
}  // namespace tessera::nn

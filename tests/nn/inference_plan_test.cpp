#include "nn/inference_plan.h"

#include <gtest/gtest.h>

#include <optional>

#include "autograd/node.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/conv_norm.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "ops/index/concat.h"
#include "ops/index/view.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/relu.h"
#include "ops/pool/adaptive_pool.h"
#include "ops/random/random.h"
#include "tensor/allocator.h"
#include "tensor/view.h"

namespace tessera::nn {
namespace {

// Two branches that join, a residual sum and a head.
class Branches final : public Module {
 public:
  Branches() {
    for (int i = 0; i < 4; ++i)
      conv_[i] = make_module<Conv2d>(cat("conv", i), i == 0 ? 3 : 16, i == 3 ? 32 : 16, 3,
                                     Conv2d::Options{.padding = 1});
    const auto conv = make_module<Conv2d>("last", 48, 48, 3, Conv2d::Options{.padding = 1});
    last_ = std::make_unique<ConvNorm>(conv, make_module<BatchNorm>("norm", 48));
    head_ = make_module<Linear>("head", 48, 7);
  }
  Tensor forward(const Tensor& x) override {
    const Tensor stem = relu((*conv_[0])(x));
    const Tensor left = (*conv_[2])(relu((*conv_[1])(stem))) + stem, right = (*conv_[3])(stem);
    const Tensor joined = concat({left, right}, 3);
    const Tensor y = last_->forward(joined, Activation::relu, joined);
    return (*head_)(flatten(adaptive_avg_pool2d(y, 1), 1));
  }

 private:
  std::shared_ptr<Conv2d> conv_[4];
  std::unique_ptr<ConvNorm> last_;
  std::shared_ptr<Linear> head_;
};

Tensor images(uint64_t seed, int64_t n = 2) {
  Generator g(seed);
  return randn({n, 20, 12, 3}, g);
}

TEST(InferencePlan, GivesTheNetworksBits) {
  manual_seed(3);
  Branches net;
  net.train();
  net(images(1));  // running statistics
  InferencePlan plan = optimize_for_inference(net, images(2));
  EXPECT_FALSE(net.training());
  NoGradGuard no_grad;
  Tensors results;
  for (const uint64_t seed : {5, 6, 7}) results.push_back(plan(images(seed)));
  for (size_t i = 0; i < results.size(); ++i)  // later runs leave earlier results alone
    EXPECT_EQ(results[i].to_vector<float>(), net(images(5 + i)).to_vector<float>()) << i;
}

TEST(InferencePlan, ActivationsShareMemoryAndAllocateNothing) {
  Branches net;
  InferencePlan plan = optimize_for_inference(net, images(1));
  EXPECT_GT(plan.kernel_calls(), 8);
  EXPECT_GT(plan.activation_bytes(), 0);
  EXPECT_LT(plan.activation_bytes(), plan.unshared_activation_bytes() * 3 / 4);
  const Tensor x = images(2);
  plan(x);
  const MemoryStats before = cpu_allocator().stats();
  for (int i = 0; i < 3; ++i) plan(x);
  EXPECT_EQ(cpu_allocator().stats().system_allocations, before.system_allocations);
  EXPECT_EQ(cpu_allocator().stats().live, before.live);
}

// Capturing gives back what later calls do not read, as running does.
TEST(InferencePlan, IsMadeInTheMemoryOfAPass) {
  Sequential net;
  for (int i = 0; i < 12; ++i)
    net.push_back(std::make_shared<Conv2d>(16, 16, 3, Conv2d::Options{.padding = 1}));
  net.eval();
  Generator g(1);
  const Tensor x = randn({2, 40, 40, 16}, g);
  const auto peak_of = [](const auto& f) {
    cpu_allocator().reset_peak();
    const int64_t live = cpu_allocator().stats().live;
    f();
    return cpu_allocator().stats().peak - live;
  };
  NoGradGuard no_grad;
  for (int i = 0; i < 3; ++i) net(x);  // packs filters
  const int64_t pass = peak_of([&] { net(x); });
  std::optional<InferencePlan> plan;
  const int64_t making = peak_of([&] { plan.emplace(optimize_for_inference(net, x)); });
  // Beside the pass: the block, the inputs that are tried and the results.
  EXPECT_LE(making, pass + plan->activation_bytes() + 4 * x.nbytes());
  EXPECT_LT(making, plan->unshared_activation_bytes());
}

TEST(InferencePlan, ReadsStridedInputsAndLeavesThemAlone) {
  Branches net;
  InferencePlan plan = optimize_for_inference(net, images(1));
  const Tensor wide = images(4, 4), x = view::slice(wide, 0, 0, 4, 2);
  const std::vector<float> before = wide.to_vector<float>();
  NoGradGuard no_grad;
  EXPECT_EQ(plan(x).to_vector<float>(), net(x).to_vector<float>());
  EXPECT_EQ(wide.to_vector<float>(), before);
}

TEST(InferencePlan, ResultsThatNoCallMakes) {
  const Tensor weight = full({2, 3}, 4.0);
  const Tensor x = full({2, 3}, 1.5);
  InferencePlan same([](const Tensor& t) { return t; }, x);
  InferencePlan constant([&](const Tensor&) { return weight; }, x);
  InferencePlan reshaped([&](const Tensor& t) { return reshape(t + weight, {3, 2}); }, x);
  const Tensor y = full({2, 3}, 2.0);
  const Tensor a = same(y), b = constant(y), c = reshaped(y);
  EXPECT_FALSE(a.shares_storage(y));
  EXPECT_FALSE(b.shares_storage(weight));
  EXPECT_EQ(a.to_vector<float>(), y.to_vector<float>());
  EXPECT_EQ(b.to_vector<float>(), weight.to_vector<float>());
  EXPECT_EQ(c.shape(), (Shape{3, 2}));
  EXPECT_EQ(c.to_vector<float>(), std::vector<float>(6, 6.0f));
  EXPECT_EQ(same(y).to_vector<float>(), y.to_vector<float>());
}

// A network that looks at values on the host takes another path for the second input.
TEST(InferencePlan, RefusesWhatDependsOnValues) {
  const auto looks = [](const Tensor& t) { return t.to_vector<float>()[0] > 0 ? t + t : t * t; };
  EXPECT_THROW(InferencePlan(looks, from_vector<float>({1, -1, -3, 2})), Error);
}

TEST(InferencePlan, OnlyForInputsLikeTheExample) {
  Branches net;
  InferencePlan plan = optimize_for_inference(net, images(1));
  EXPECT_THROW(plan(images(1, 3)), ShapeError);
  EXPECT_THROW(plan(view::to(images(1), DType::f64)), DTypeError);
}

// Both hold the weights; the plan does not need the network to live.
TEST(InferencePlan, OutlivesTheNetwork) {
  auto net = std::make_unique<Branches>();
  InferencePlan plan = optimize_for_inference(*net, images(1));
  const std::vector<float> want = plan(images(9)).to_vector<float>();
  net.reset();
  InferencePlan moved = std::move(plan);
  EXPECT_EQ(moved(images(9)).to_vector<float>(), want);
}

}  // namespace
}  // namespace tessera::nn

// A small network trained on a GPU, or on the emulator, beside the same network on the CPU.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "autograd/engine.h"
#include "nn/inference_plan.h"
#include "nn/layers/conv_norm.h"
#include "nn/layers/linear.h"
#include "nn/optim/optimizer.h"
#include "ops/index/view.h"
#include "ops/loss/cross_entropy.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pool/adaptive_pool.h"
#include "ops/pool/max_pool.h"
#include "tensor/cuda_plugin.h"
#include "tensor/generator.h"
#include "tensor/view.h"
#include "tests/common/hash_fill.h"

namespace tessera::nn {
namespace {

constexpr Device kGpu{DeviceType::cuda, 0};
constexpr int64_t kClasses = 5;

class SmallNet final : public Module {
 public:
  SmallNet() {
    first_ = conv_norm("first", 3, 8, {.padding = 1});
    second_ = conv_norm("second", 8, 16, {.stride = 2, .padding = 1});
    head_ = make_module<Linear>("head", 16, kClasses);
  }
  Tensor forward(const Tensor& x) override {
    Tensor y = max_pool2d(first_->forward(x, Activation::relu), {.kernel = 2});
    y = adaptive_avg_pool2d(second_->forward(y, Activation::relu), 1);
    return head_->forward(reshape(y, {x.size(0), 16}));
  }

 private:
  std::unique_ptr<ConvNorm> conv_norm(const std::string& name, int64_t in, int64_t out,
                                      Conv2d::Options options) {
    options.bias = false;
    return std::make_unique<ConvNorm>(make_module<Conv2d>(name, in, out, 3, options),
                                      make_module<BatchNorm>(name + "_norm", out));
  }
  std::unique_ptr<ConvNorm> first_, second_;
  std::shared_ptr<Linear> head_;
};

struct Trained {
  std::vector<double> losses;
  std::vector<std::vector<double>> parameters;
};

template <class MakeOptimizer>
Trained train(Device device, DType dtype, const MakeOptimizer& make_optimizer) {
  manual_seed(3);
  SmallNet net;
  net.to(dtype);
  net.to(device);
  const auto optimizer = make_optimizer(net.parameters());
  Trained run;
  for (int step = 0; step < 5; ++step) {
    const Tensor x =
        view::to(view::to(from_vector(testing::hash_uniform(cat("x", step), 4 * 12 * 10 * 3, -1, 1),
                                      {4, 12, 10, 3}),
                          dtype),
                 device);
    const Tensor target = view::to(from_vector<int64_t>({0, 3, step % kClasses, 1}), device);
    optimizer->zero_grad();
    const Tensor loss = cross_entropy(net.forward(x), target);
    backward(loss);
    optimizer->step();
    run.losses.push_back(loss.item());
  }
  for (const StateEntry& e : net.state_dict())
    if (is_floating(e.tensor.dtype())) run.parameters.push_back(e.tensor.to_vector<double>());
  return run;
}

void expect_close(const Trained& got, const Trained& want, double tolerance) {
  for (size_t i = 0; i < want.losses.size(); ++i)
    EXPECT_NEAR(got.losses[i], want.losses[i], tolerance * (1 + std::abs(want.losses[i])))
        << "step " << i;
  ASSERT_EQ(got.parameters.size(), want.parameters.size());
  for (size_t p = 0; p < want.parameters.size(); ++p)
    for (size_t i = 0; i < want.parameters[p].size(); ++i)
      ASSERT_NEAR(got.parameters[p][i], want.parameters[p][i],
                  tolerance * (1 + std::abs(want.parameters[p][i])))
          << "entry " << p << " element " << i;
}

class DeviceTraining : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  }
};

const auto sgd = [](const Tensors& p) -> std::unique_ptr<Optimizer> {
  return std::make_unique<Sgd>(
      p, Sgd::Options{.lr = 0.05, .momentum = 0.9, .weight_decay = 1e-4, .nesterov = true});
};
const auto adam = [](const Tensors& p) -> std::unique_ptr<Optimizer> {
  return std::make_unique<Adam>(p, Adam::Options{.lr = 0.01});
};

TEST_F(DeviceTraining, SgdFollowsTheCpu) {
  expect_close(train(kGpu, DType::f64, sgd), train(kCpu, DType::f64, sgd), 1e-9);
  expect_close(train(kGpu, DType::f32, sgd), train(kCpu, DType::f32, sgd), 1e-3);
}

TEST_F(DeviceTraining, AdamFollowsTheCpu) {
  expect_close(train(kGpu, DType::f64, adam), train(kCpu, DType::f64, adam), 1e-7);
}

TEST_F(DeviceTraining, TwoRunsHaveTheSameBits) {
  const Trained a = train(kGpu, DType::f32, sgd), b = train(kGpu, DType::f32, sgd);
  EXPECT_EQ(a.losses, b.losses);
  EXPECT_EQ(a.parameters, b.parameters);
}

TEST_F(DeviceTraining, AnInferencePlanRunsOnTheDevice) {
  manual_seed(3);
  SmallNet net;
  net.eval();
  const Tensor x = from_vector(testing::hash_uniform("x", 2 * 12 * 10 * 3, -1, 1), {2, 12, 10, 3});
  NoGradGuard no_grad;
  const std::vector<double> want = net.forward(x).to_vector<double>();
  net.to(kGpu);
  InferencePlan plan = optimize_for_inference(net, view::to(x, kGpu));
  const std::vector<double> got = plan(view::to(x, kGpu)).to_vector<double>();
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-5);
}

TEST_F(DeviceTraining, MixedDevicesAreNamed) {
  const Tensor a = ones({2}), b = view::to(a, kGpu);
  try {
    add(a, b);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const DeviceError& e) {
    EXPECT_NE(std::string(e.what()).find("cpu"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("cuda:0"), std::string::npos) << e.what();
  }
}

TEST_F(DeviceTraining, OutOfMemoryIsAnErrorOneCanGoOnAfter) {
  Allocator& gpu = allocator(kGpu);
  gpu.set_limit(gpu.stats().live + (int64_t{4} << 20));
  try {
    empty({int64_t{1} << 30}, DType::f32, kGpu);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const OutOfMemoryError& e) {
    for (const char* part : {"cuda:0", "requested 4294967296", "live", "cached", "peak", "limit"})
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << part << ": " << e.what();
  }
  EXPECT_EQ(zeros({8}, DType::f32, kGpu).to_vector<double>(), std::vector<double>(8, 0.0));
  gpu.set_limit(0);
}

}  // namespace
}  // namespace tessera::nn

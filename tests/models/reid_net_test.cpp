#include "models/reid/reid_net.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/engine.h"
#include "nn/optim/optimizer.h"
#include "ops/index/flip.h"
#include "ops/loss/cross_entropy.h"
#include "ops/random/random.h"

namespace tessera::models {
namespace {

ReidConfig small_config() {
  return {.backbone = "resnet18", .num_classes = 7, .bottleneck = 64, .dropout = 0.5};
}

Tensor images(int64_t count, uint64_t seed = 1) {
  Generator g(seed);
  return randn({count, 32, 16, 3}, g);
}

std::vector<std::string> head_names(const ReidNet& net) {
  std::vector<std::string> names;
  for (const nn::StateEntry& e : net.state_dict())
    if (e.name.starts_with("classifier.")) names.push_back(e.name.substr(11));
  return names;
}

double deviation(const Tensor& t, double mean) {
  double sum = 0;
  for (double v : t.to_vector<double>()) sum += (v - mean) * (v - mean);
  return std::sqrt(sum / static_cast<double>(t.numel()));
}

TEST(ReidNet, HeadEntriesShapesAndInitialValues) {
  manual_seed(1);
  ReidConfig c = small_config();
  c.bottleneck = 512;
  c.num_classes = 751;
  ReidNet net(c);
  EXPECT_EQ(head_names(net),
            (std::vector<std::string>{
                "add_block.0.weight", "add_block.0.bias", "add_block.1.weight", "add_block.1.bias",
                "add_block.1.running_mean", "add_block.1.running_var",
                "add_block.1.num_batches_tracked", "classifier.0.weight", "classifier.0.bias"}));
  const Tensors head = net.head().parameters();
  EXPECT_EQ(head[0].shape(), Shape({512, 512}));
  EXPECT_EQ(head[4].shape(), Shape({751, 512}));
  EXPECT_NEAR(deviation(head[0], 0), 0.0625, 0.0005);
  EXPECT_NEAR(deviation(head[2], 1), 0.02, 0.003);
  EXPECT_NEAR(deviation(head[4], 0), 1e-4, 1e-6);
  for (size_t bias : {size_t{1}, size_t{3}, size_t{5}}) EXPECT_EQ(deviation(head[bias], 0), 0);
  for (const nn::StateEntry& e : net.state_dict())
    EXPECT_TRUE(e.name.starts_with("model.") || e.name.starts_with("classifier.")) << e.name;
}

// The baseline's ResNet-50 has 26,992,407 parameters for Market-1501, 2,049,000 of them in an fc
// layer that is never used and that this network does not have.
TEST(ReidNet, ParameterCountOfTheBaseline) {
  EXPECT_EQ(ReidNet({}).parameter_count(), 26992407 - 2049000);
}

TEST(ReidNet, WithoutBottleneckOrDropout) {
  ReidConfig c = small_config();
  c.bottleneck = 0;
  c.dropout = 0;
  ReidNet net(c);
  EXPECT_EQ(head_names(net)[0], "add_block.0.weight");
  EXPECT_EQ(head_names(net)[5], "classifier.0.weight");
  EXPECT_EQ(net.run(images(2)).feature.shape(), Shape({2, 512}));
}

TEST(ReidNet, FirstLossIsTheLogarithmOfTheClasses) {
  manual_seed(2);
  ReidConfig c = small_config();
  c.num_classes = 751;
  ReidNet net(c);
  const ReidOutput out = net.run(images(8));
  EXPECT_EQ(out.logits.shape(), Shape({8, 751}));
  EXPECT_EQ(out.feature.shape(), Shape({8, 64}));
  EXPECT_NEAR(cross_entropy(out.logits, arange(8)).item(), std::log(751.0), 0.01);
}

TEST(ReidNet, StrideOneKeepsResolution) {
  ReidConfig c = small_config();
  c.last_stride = 1;
  ReidNet net(c);
  net.eval();
  auto& backbone = dynamic_cast<ResNet&>(net.backbone());
  EXPECT_EQ(backbone.features(zeros({1, 64, 32, 3})).shape(), Shape({1, 4, 2, 512}));
}

TEST(ReidNet, EmbedsInEvaluationOnly) {
  manual_seed(3);
  ReidNet net(small_config());
  const Tensor x = images(3);
  net.run(x);
  EXPECT_THROW(net.embed(x), Error);
  net.eval();
  const Tensor f = net.embed(x);
  EXPECT_EQ(f.shape(), Shape({3, 64}));
  EXPECT_FALSE(f.requires_grad());
  const std::vector<double> v = f.to_vector<double>();
  for (size_t i = 0; i < 3; ++i) {
    double norm = 0;
    for (size_t k = 0; k < 64; ++k) norm += v[i * 64 + k] * v[i * 64 + k];
    EXPECT_NEAR(norm, 1, 1e-5);
  }
  // The mirrored image has the same feature: the sum of both images' features after batch norm.
  const std::vector<double> mirrored = net.embed(flip(x, {2})).to_vector<double>();
  for (size_t i = 0; i < v.size(); ++i) EXPECT_NEAR(v[i], mirrored[i], 1e-5);
  const std::vector<double> a = net.run(x).feature.to_vector<double>(),
                            b = net.run(flip(x, {2})).feature.to_vector<double>();
  double norm = 0;
  for (size_t k = 0; k < 64; ++k) norm += (a[k] + b[k]) * (a[k] + b[k]);
  for (size_t k = 0; k < 64; ++k) EXPECT_NEAR(v[k], (a[k] + b[k]) / std::sqrt(norm), 1e-5);
}

TEST(ReidNet, ChecksItsConfiguration) {
  ReidConfig c = small_config();
  c.backbone = "vgg16";
  EXPECT_THROW(ReidNet{c}, ValueError);
  c = small_config();
  c.num_classes = 0;
  EXPECT_THROW(ReidNet{c}, ValueError);
  c = small_config();
  c.last_stride = 3;
  EXPECT_THROW(ReidNet{c}, ValueError);
  c = small_config();
  c.dropout = 1.5;
  EXPECT_THROW(ReidNet{c}, ValueError);
}

TEST(ReidNetSlow, OverfitsABatch) {
  manual_seed(4);
  ReidConfig c = small_config();
  c.dropout = 0.1;
  ReidNet net(c);
  const Tensor x = images(7), y = arange(7);
  nn::Sgd sgd({{net.backbone().parameters(), 0.02}, {net.head().parameters(), 0.05}},
              {.momentum = 0.9, .nesterov = true});
  double first = 0, loss = 0;
  for (int step = 0; step < 20; ++step) {
    sgd.zero_grad();
    const Tensor l = cross_entropy(net(x), y);
    loss = l.item();
    if (step == 0) first = loss;
    backward(l);
    sgd.step();
  }
  EXPECT_NEAR(first, std::log(7.0), 0.02);
  EXPECT_LT(loss, 0.1 * first);
}

}  // namespace
}  // namespace tessera::models

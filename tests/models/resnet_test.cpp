#include "models/resnet/resnet.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "autograd/engine.h"
#include "models/registry.h"
#include "nn/optim/optimizer.h"
#include "ops/loss/cross_entropy.h"
#include "ops/random/random.h"
#include "tensor/view.h"

namespace tessera::models {
namespace {

ResNetConfig small_config() {
  ResNetConfig c = resnet_config(18);
  c.num_classes = 5;
  return c;
}

// Learnable parameters and state entries of torchvision's networks.
struct Published {
  const char* name;
  int64_t parameters, entries;
};

void expect_published(const Published& p) {
  const auto net = create(p.name);
  EXPECT_EQ(net->parameter_count(), p.parameters) << p.name;
  EXPECT_EQ(static_cast<int64_t>(net->state_dict().size()), p.entries) << p.name;
}

TEST(ResNet, ParametersAndEntriesArePublished) {
  expect_published({"resnet18", 11689512, 122});
  expect_published({"resnet34", 21797672, 218});
  expect_published({"resnet50", 25557032, 320});
}

TEST(ResNetSlow, ParametersAndEntriesOfTheLargerOnes) {
  expect_published({"resnet101", 44549160, 626});
  expect_published({"resnet152", 60192808, 932});
  expect_published({"wide_resnet50_2", 68883240, 320});
  expect_published({"wide_resnet101_2", 126886696, 626});
  expect_published({"resnext50_32x4d", 25028904, 320});
  expect_published({"resnext101_32x8d", 88791336, 626});
  expect_published({"resnext101_64x4d", 83455272, 626});
}

TEST(ResNet, NamesAndShapesAreTorchvisions) {
  const nn::StateDict state = create("resnet50")->state_dict();
  std::vector<std::string> names;
  for (const nn::StateEntry& e : state) names.push_back(e.name);
  const std::vector<std::string> head{"conv1.weight",    "bn1.weight",
                                      "bn1.bias",        "bn1.running_mean",
                                      "bn1.running_var", "bn1.num_batches_tracked"};
  ASSERT_GT(names.size(), head.size());
  EXPECT_TRUE(std::equal(head.begin(), head.end(), names.begin()));
  EXPECT_EQ(names[names.size() - 2], "fc.weight");
  EXPECT_EQ(names.back(), "fc.bias");
  const auto shape = [&](const std::string& name) {  // as published, OIHW
    for (const nn::StateEntry& e : state)
      if (e.name == name) return nn::to_published(e.tensor, e.layout).shape();
    ADD_FAILURE() << name << " is missing";
    return Shape{};
  };
  EXPECT_EQ(shape("conv1.weight"), Shape({64, 3, 7, 7}));
  EXPECT_EQ(shape("layer1.0.conv3.weight"), Shape({256, 64, 1, 1}));
  EXPECT_EQ(shape("layer1.0.downsample.0.weight"), Shape({256, 64, 1, 1}));
  EXPECT_EQ(shape("layer1.0.downsample.1.running_var"), Shape({256}));
  EXPECT_EQ(shape("layer3.5.conv2.weight"), Shape({256, 256, 3, 3}));
  EXPECT_EQ(shape("layer4.2.bn3.bias"), Shape({2048}));
  EXPECT_EQ(shape("fc.weight"), Shape({1000, 2048}));
  EXPECT_EQ(std::count(names.begin(), names.end(), "layer1.1.downsample.0.weight"), 0);
  EXPECT_EQ(std::count(names.begin(), names.end(), "layer4.3.conv1.weight"), 0);
}

TEST(ResNet, OutputShapes) {
  ResNetConfig c = small_config();
  for (int64_t stride : {2, 1}) {
    c.last_stride = stride;
    ResNet net(c);
    net.eval();
    const Tensor x = zeros({2, 64, 32, 3});
    EXPECT_EQ(net.features(x).shape(), stride == 2 ? Shape({2, 2, 1, 512}) : Shape({2, 4, 2, 512}));
    EXPECT_EQ(net(x).shape(), Shape({2, 5}));
    // Odd sizes round up at every stride.
    EXPECT_EQ(net.features(zeros({1, 65, 33, 3})).shape(),
              stride == 2 ? Shape({1, 3, 2, 512}) : Shape({1, 5, 3, 512}));
  }
  ResNetConfig wide = resnet_config(50);
  wide.num_classes = 0;
  ResNet pooled(wide);
  pooled.eval();
  EXPECT_EQ(pooled.feature_channels(), 2048);
  EXPECT_EQ(pooled(zeros({1, 32, 32, 3})).shape(), Shape({1, 2048}));
  for (const nn::StateEntry& e : pooled.state_dict()) EXPECT_FALSE(e.name.starts_with("fc"));
  EXPECT_EQ(pooled.parameter_count(), 23508032);
}

TEST(ResNet, MultiplyAddsArePublished) {
  const auto giga = [](nn::Module& net, const Shape& shape) {
    return static_cast<double>(count_macs(net, shape)) / 1e9;
  };
  EXPECT_NEAR(giga(*create("resnet18"), {1, 224, 224, 3}), 1.814, 0.0006);
  EXPECT_NEAR(giga(*create("resnet50"), {1, 224, 224, 3}), 4.089, 0.0006);
  ResNetConfig c = resnet_config(50);
  c.num_classes = 0;
  ResNet two(c);
  EXPECT_NEAR(giga(two, {1, 256, 128, 3}), 2.67, 0.006);
  c.last_stride = 1;
  ResNet one(c);
  EXPECT_NEAR(giga(one, {1, 256, 128, 3}), 4.05, 0.006);
  EXPECT_TRUE(one.training());  // as before
}

TEST(ResNet, ChecksItsInputAndConfiguration) {
  ResNet net(small_config());
  EXPECT_THROW(net(zeros({2, 3, 32, 32})), ShapeError);  // channels first
  EXPECT_THROW(net(zeros({32, 32, 3})), ShapeError);
  EXPECT_THROW(resnet_config(19), ValueError);
  ResNetConfig c = small_config();
  c.last_stride = 3;
  EXPECT_THROW(ResNet{c}, ValueError);
  c = small_config();
  c.num_classes = -1;
  EXPECT_THROW(ResNet{c}, ValueError);
  c = resnet_config(18);  // basic blocks know neither groups nor a width
  c.groups = 32;
  EXPECT_THROW(ResNet{c}, ValueError);
  c = resnet_config(34);
  c.width_per_group = 128;
  EXPECT_THROW(ResNet{c}, ValueError);
}

TEST(ResNet, SameSeedSameNetwork) {
  const auto first = [](uint64_t seed) {
    manual_seed(seed);
    return ResNet(small_config()).parameters()[0].to_vector<float>();
  };
  EXPECT_EQ(first(1), first(1));
  EXPECT_NE(first(1), first(2));
}

TEST(ResNet, EvaluationDoesNotDependOnTheBatch) {
  manual_seed(3);
  ResNet net(small_config());
  Generator g(4);
  const Tensor x = randn({3, 32, 32, 3}, g);
  net(x);  // running statistics
  net.eval();
  const std::vector<float> all = net(x).to_vector<float>(),
                           one = net(view::slice(x, 0, 1, 2)).to_vector<float>();
  for (size_t i = 0; i < 5; ++i) EXPECT_NEAR(all[5 + i], one[i], 1e-4);
}

TEST(ResNetSlow, OverfitsABatch) {
  manual_seed(5);
  ResNet net(small_config());
  Generator g(6);
  const Tensor x = randn({5, 32, 32, 3}, g), y = arange(5);
  nn::Sgd sgd(net.parameters(), {.lr = 0.02, .momentum = 0.9});
  double loss = 0;
  for (int step = 0; step < 15; ++step) {
    sgd.zero_grad();
    const Tensor l = cross_entropy(net(x), y);
    loss = l.item();
    if (step == 0) {
      EXPECT_GT(loss, 0.8);
    }
    backward(l);
    sgd.step();
  }
  EXPECT_LT(loss, 0.05);
}

TEST(Registry, FindsCreatesAndRefuses) {
  const auto& list = registry();
  EXPECT_TRUE(std::is_sorted(list.begin(), list.end(), [](const ModelInfo& a, const ModelInfo& b) {
    return a.name < b.name;
  }));
  EXPECT_EQ(find_model("resnet50").input_size, 224);
  EXPECT_EQ(create("resnet18", {.num_classes = 7})->parameters().back().shape(), Shape({7}));
  try {
    find_model("resnet19");
    FAIL() << "an unknown name must throw";
  } catch (const ValueError& e) {
    const std::string text = e.what();
    EXPECT_NE(text.find("'resnet19'"), std::string::npos) << text;
    EXPECT_NE(text.find("resnet18, resnet34"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace tessera::models

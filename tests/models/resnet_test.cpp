#include "models/resnet/resnet.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "autograd/node.h"
#include "models/registry.h"
#include "tensor/view.h"
#include "tests/models/network_checks.h"

namespace tessera::models {
namespace {

ResNetConfig small_config() {
  ResNetConfig c = resnet_config(18);
  c.num_classes = 5;
  return c;
}

TEST(ResNet, CountsArePublished) {
  testing::expect_published({"resnet18", 11689512, 122, 1814073344});
  testing::expect_published({"resnet34", 21797672, 218, 3663761408});
  testing::expect_published({"resnet50", 25557032, 320, 4089184256});
  testing::expect_published({"resnet101", 44549160, 626, 7801405440});
  testing::expect_published({"resnet152", 60192808, 932, 11513626624});
  testing::expect_published({"wide_resnet50_2", 68883240, 320, 11398021120});
  testing::expect_published({"wide_resnet101_2", 126886696, 626, 22753050624});
  testing::expect_published({"resnext50_32x4d", 25028904, 320, 4230479872});
  testing::expect_published({"resnext101_32x8d", 88791336, 626, 16414015488});
  testing::expect_published({"resnext101_64x4d", 83455272, 626, 15460270080});
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

TEST(ResNet, MultiplyAddsOfOtherSizesAndBatches) {
  const nn::init::Skip only_counted;
  ResNetConfig c = resnet_config(50);
  c.num_classes = 0;
  ResNet two(c);
  const int64_t macs = count_macs(two, {1, 256, 128, 3});
  EXPECT_NEAR(static_cast<double>(macs) / 1e9, 2.67, 0.006);
  EXPECT_EQ(count_macs(two, {5, 256, 128, 3}), 5 * macs);
  EXPECT_TRUE(two.training());  // as before
  c.last_stride = 1;
  ResNet one(c);
  EXPECT_NEAR(static_cast<double>(count_macs(one, {1, 256, 128, 3})) / 1e9, 4.05, 0.006);
  EXPECT_THROW(count_macs(one, {}), ShapeError);
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
  const Tensor x = testing::random_images({3, 32, 32, 3}, 4);
  net(x);  // running statistics
  net.eval();
  const std::vector<float> all = net(x).to_vector<float>(),
                           one = net(view::slice(x, 0, 1, 2)).to_vector<float>();
  for (size_t i = 0; i < 5; ++i) EXPECT_NEAR(all[5 + i], one[i], 1e-4);
}

TEST(ResNetSlow, OverfitsABatch) {
  manual_seed(5);
  ResNet net(small_config());
  EXPECT_LT(testing::overfitted_loss(net, {5, 32, 32, 3}, 0.02, 14), 0.05);
}

TEST(Registry, TransformsTheInputOfTheInceptions) {
  NoGradGuard no_grad;
  const Tensor x = testing::random_images({1, 75, 75, 3});
  for (const char* name : {"googlenet", "inception_v3", "squeezenet1_1"}) {
    const auto output = [&](bool transform_input) {
      manual_seed(1);
      const auto net = create(name, {.num_classes = 3, .transform_input = transform_input});
      testing::make_responsive(*net);
      net->eval();
      return net->forward(x).to_vector<float>();
    };
    if (name == std::string("squeezenet1_1")) {
      EXPECT_EQ(output(true), output(false)) << name;  // has no such option
    } else {
      EXPECT_NE(output(true), output(false)) << name;
    }
  }
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

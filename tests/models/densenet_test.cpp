#include "models/densenet/densenet.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/node.h"
#include "models/registry.h"
#include "tests/models/network_checks.h"

namespace tessera::models {
namespace {

using namespace testing;

DenseNetConfig small_config() {
  return {.depths = {2, 1, 3, 1}, .stem = 12, .growth = 8, .num_classes = 5};
}

TEST(DenseNet, ParametersEntriesAndMultiplyAddsArePublished) {
  expect_published({"densenet121", 7978856, 727, 2834161664});
  expect_published({"densenet161", 28681000, 967, 7727907072});
  expect_published({"densenet169", 14149480, 1015, 3359843328});
  expect_published({"densenet201", 20013928, 1207, 4291365888});
}

TEST(DenseNet, NamesShapesAndInitialValuesAreTorchvisions) {
  manual_seed(1);
  const auto made = create("densenet121");
  const nn::Module& net = *made;
  const nn::StateDict state = net.state_dict();
  EXPECT_EQ(state[0].name, "features.conv0.weight");
  EXPECT_EQ(state[6].name, "features.denseblock1.denselayer1.norm1.weight");
  EXPECT_EQ(state[11].name, "features.denseblock1.denselayer1.conv1.weight");
  EXPECT_EQ(state[12].name, "features.denseblock1.denselayer1.norm2.weight");
  EXPECT_EQ(entry(net, "features.denseblock4.denselayer16.conv1.weight").shape(),
            Shape({128, 1, 1, 992}));
  EXPECT_EQ(entry(net, "features.denseblock4.denselayer16.conv2.weight").shape(),
            Shape({32, 3, 3, 128}));
  EXPECT_EQ(entry(net, "features.transition3.norm.running_mean").shape(), Shape({1024}));
  EXPECT_EQ(entry(net, "features.transition3.conv.weight").shape(), Shape({512, 1, 1, 1024}));
  EXPECT_EQ(entry(net, "features.norm5.bias").shape(), Shape({1024}));
  EXPECT_EQ(entry(net, "classifier.weight").shape(), Shape({1000, 1024}));
  const auto normal = [](double fan_in) { return std::sqrt(2 / fan_in); };
  EXPECT_NEAR(root_mean_square(entry(net, "features.conv0.weight")), normal(147), 0.004);
  EXPECT_NEAR(root_mean_square(entry(net, "features.denseblock3.denselayer5.conv2.weight")),
              normal(1152), 0.0008);
  EXPECT_NEAR(root_mean_square(entry(net, "classifier.weight")), 1 / std::sqrt(3 * 1024.0),
              1e-4);  // uniform
  EXPECT_EQ(root_mean_square(entry(net, "classifier.bias")), 0);
}

TEST(DenseNet, OutputShapes) {
  DenseNet net(small_config());
  net.eval();
  NoGradGuard no_grad;
  EXPECT_EQ(net.feature_channels(), 25);  // 12+16, half: 14+8, half: 11+24, half: 17+8
  EXPECT_EQ(net(zeros({2, 64, 32, 3})).shape(), Shape({2, 5}));
  const auto map = [&](int64_t h, int64_t w) { return net.features(zeros({1, h, w, 3})).shape(); };
  EXPECT_EQ(map(224, 224), Shape({1, 7, 7, 25}));
  EXPECT_EQ(map(29, 29), Shape({1, 1, 1, 25}));
  EXPECT_EQ(map(30, 63), Shape({1, 1, 2, 25}));
  EXPECT_EQ(map(65, 100), Shape({1, 2, 3, 25}));
  DenseNetConfig c = densenet_config(121);
  c.num_classes = 0;
  DenseNet pooled(c);
  pooled.eval();
  EXPECT_EQ(pooled(zeros({2, 32, 32, 3})).shape(), Shape({2, 1024}));
  EXPECT_EQ(pooled.parameter_count(), 7978856 - 1025000);
}

TEST(DenseNet, FoldsItsNorms) {
  manual_seed(2);
  DenseNet net(small_config());
  expect_folding_is_exact(net, random_images({4, 65, 47, 3}));
}

TEST(DenseNet, DropsWhatLayersAddInTrainingOnly) {
  DenseNetConfig c = small_config();
  c.dropout = 0.5;
  manual_seed(3);
  DenseNet net(c);
  const Tensor x = random_images({4, 32, 32, 3});
  EXPECT_NE(net(x).to_vector<float>(), net(x).to_vector<float>());
  net.eval();
  EXPECT_EQ(net(x).to_vector<float>(), net(x).to_vector<float>());
}

TEST(DenseNet, SavesAndLoads) {
  manual_seed(4);
  DenseNet from(small_config());
  auto to = undrawn<DenseNet>(small_config());
  expect_round_trip(from, to, random_images({2, 32, 32, 3}));
}

TEST(DenseNetSlow, OverfitsABatch) {
  manual_seed(5);
  DenseNet net(small_config());
  EXPECT_LT(overfitted_loss(net, {5, 64, 64, 3}, 0.1, 19), 0.05);
}

TEST(DenseNet, ChecksItsInputAndConfiguration) {
  DenseNet net(small_config());
  const std::string text = message_of<ShapeError>([&] { net(zeros({2, 40, 28, 3})); });
  EXPECT_NE(text.find("29 x 29"), std::string::npos) << text;
  EXPECT_NE(text.find("[2, 40, 28, 3]"), std::string::npos) << text;
  EXPECT_THROW(net(zeros({2, 3, 32, 32})), ShapeError);  // channels first
  EXPECT_THROW(net(zeros({32, 32, 3})), ShapeError);
  EXPECT_THROW(densenet_config(100), ValueError);
  const auto expect_bad = [](auto change) {
    DenseNetConfig c = small_config();
    change(c);
    EXPECT_THROW(DenseNet{c}, ValueError);
  };
  expect_bad([](DenseNetConfig& c) { c.depths[2] = 0; });
  expect_bad([](DenseNetConfig& c) { c.growth = 0; });
  expect_bad([](DenseNetConfig& c) { c.stem = -1; });
  expect_bad([](DenseNetConfig& c) { c.bottleneck = 0; });
  expect_bad([](DenseNetConfig& c) { c.dropout = 1.5; });
  expect_bad([](DenseNetConfig& c) { c.num_classes = -1; });
}

}  // namespace
}  // namespace tessera::models

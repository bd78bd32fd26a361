#include "models/mobilenet/mobilenet_v2.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/node.h"
#include "models/registry.h"
#include "tests/models/network_checks.h"

namespace tessera::models {
namespace {

using testing::entry;

MobileNetV2Config small_config(double width_mult = 0.25) {
  return {.width_mult = width_mult, .num_classes = 4};
}

TEST(MobileNetV2, CountsArePublished) {
  testing::expect_published({"mobilenet_v2", 3504872, 314, 300774272});
}

// Counted from torchvision's modules; 0.35 needs the rule that nothing shrinks by over a tenth.
TEST(MobileNetV2, WidthMultiplier) {
  struct Case {
    double width_mult;
    int64_t parameters, last;
  };
  for (const Case& c :
       {Case{0.25, 1519112, 1280}, Case{0.35, 1677128, 1280}, Case{0.5, 1968680, 1280},
        Case{0.75, 2636424, 1280}, Case{1.4, 6108776, 1792}}) {
    const MobileNetV2 net({.width_mult = c.width_mult});
    EXPECT_EQ(net.parameter_count(), c.parameters) << c.width_mult;
    EXPECT_EQ(net.feature_channels(), c.last) << c.width_mult;
  }
}

TEST(MobileNetV2, NamesAndShapes) {
  const auto net = create("mobilenet_v2");
  const std::vector<std::pair<const char*, Shape>> want{
      {"features.0.0.weight", {32, 3, 3, 3}},
      {"features.0.1.running_mean", {32}},
      {"features.1.conv.0.0.weight", {32, 3, 3, 1}},  // no expansion: depthwise first
      {"features.1.conv.1.weight", {16, 1, 1, 32}},
      {"features.1.conv.2.running_var", {16}},
      {"features.2.conv.0.0.weight", {96, 1, 1, 16}},
      {"features.2.conv.1.0.weight", {96, 3, 3, 1}},
      {"features.2.conv.1.1.bias", {96}},
      {"features.2.conv.2.weight", {24, 1, 1, 96}},
      {"features.2.conv.3.num_batches_tracked", {}},
      {"features.17.conv.2.weight", {320, 1, 1, 960}},
      {"features.18.0.weight", {1280, 1, 1, 320}},
      {"features.18.1.weight", {1280}},
      {"classifier.1.weight", {1000, 1280}},
      {"classifier.1.bias", {1000}},
  };
  for (const auto& [name, shape] : want) EXPECT_EQ(entry(*net, name).shape(), shape) << name;
}

TEST(MobileNetV2, InitialValues) {
  manual_seed(1);
  const auto net = create("mobilenet_v2");
  // Kaiming normal by fan-out, which for a depthwise filter is channels * 9.
  for (const auto& [name, fan_out] : {std::pair{"features.0.0.weight", 32.0 * 9},
                                      std::pair{"features.17.conv.1.0.weight", 960.0 * 9},
                                      std::pair{"features.18.0.weight", 1280.0}}) {
    const double want = std::sqrt(2 / fan_out);
    EXPECT_NEAR(testing::root_mean_square(entry(*net, name)), want, 0.1 * want) << name;
  }
  EXPECT_NEAR(testing::root_mean_square(entry(*net, "classifier.1.weight")), 0.01, 1e-4);
  EXPECT_EQ(testing::largest(entry(*net, "classifier.1.bias")), 0);
}

TEST(MobileNetV2, OutputShapes) {
  MobileNetV2 net(small_config());
  net.eval();
  NoGradGuard no_grad;
  EXPECT_EQ(net.features(zeros({2, 64, 32, 3})).shape(), Shape({2, 2, 1, 1280}));
  EXPECT_EQ(net.features(zeros({1, 65, 97, 3})).shape(), Shape({1, 3, 4, 1280}));
  EXPECT_EQ(net(zeros({1, 65, 97, 3})).shape(), Shape({1, 4}));
  EXPECT_EQ(net(zeros({3, 1, 1, 3})).shape(), Shape({3, 4}));
}

TEST(MobileNetV2, ChecksItsInputAndConfiguration) {
  MobileNetV2 net(small_config());
  EXPECT_THROW(net(zeros({1, 3, 64, 64})), ShapeError);  // channels first
  const auto refuses = [](const std::function<void(MobileNetV2Config&)>& change) {
    MobileNetV2Config c = small_config();
    change(c);
    EXPECT_THROW(MobileNetV2{c}, ValueError);
  };
  refuses([](MobileNetV2Config& c) { c.width_mult = 0; });
  refuses([](MobileNetV2Config& c) { c.num_classes = 0; });
  refuses([](MobileNetV2Config& c) { c.dropout = 1.2; });
  refuses([](MobileNetV2Config& c) { c.stages[2].stride = 3; });
  refuses([](MobileNetV2Config& c) { c.stages[0].blocks = 0; });
}

// Folded norms, ReLU6 in the convolutions and the residual sum give what the layers give.
TEST(MobileNetV2, InferenceEqualsTheRecordedPass) {
  manual_seed(7);
  MobileNetV2 net(small_config(1));
  testing::expect_folding_is_exact(net, testing::random_images({2, 64, 48, 3}, 8), 2e-5, 20);
}

TEST(MobileNetV2, SavesAndLoads) {
  manual_seed(4);
  MobileNetV2 from(small_config());
  auto to = testing::undrawn<MobileNetV2>(small_config());
  testing::expect_round_trip(from, to, testing::random_images({2, 33, 47, 3}));
}

TEST(MobileNetV2Slow, OverfitsABatch) {
  manual_seed(5);
  MobileNetV2Config c = small_config(0.5);
  c.dropout = 0;
  MobileNetV2 net(c);
  EXPECT_LT(testing::overfitted_loss(net, {4, 64, 64, 3}, 0.01, 30), 0.01);
}

}  // namespace
}  // namespace tessera::models

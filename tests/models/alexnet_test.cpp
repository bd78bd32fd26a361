#include "models/alexnet/alexnet.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/node.h"
#include "tests/models/network_checks.h"

namespace tessera::models {
namespace {

using testing::entry;

const AlexNetConfig kSmall{.hidden = 64, .num_classes = 4};

TEST(AlexNet, CountsArePublished) {
  testing::expect_published({"alexnet", 61100840, 16, 714188480});
}

TEST(AlexNet, NamesAndInitialValues) {
  manual_seed(1);
  const AlexNet net(kSmall);
  std::vector<std::string> names, want;
  for (const nn::StateEntry& e : net.state_dict()) names.push_back(e.name);
  for (const char* layer : {"features.0", "features.3", "features.6", "features.8", "features.10",
                            "classifier.1", "classifier.4", "classifier.6"})
    for (const char* kind : {"weight", "bias"}) want.push_back(cat(layer, ".", kind));
  EXPECT_EQ(names, want);
  // The layers' own: uniform in +-1 / sqrt(fan_in), biases too.
  for (const auto& [layer, fan_in] :
       {std::pair{"features.3", 64.0 * 25}, std::pair{"features.10", 256.0 * 9},
        std::pair{"classifier.1", 9216.0}, std::pair{"classifier.4", 64.0}}) {
    const double bound = 1 / std::sqrt(fan_in);
    const Tensor weight = entry(net, cat(layer, ".weight")), bias = entry(net, cat(layer, ".bias"));
    EXPECT_LE(testing::largest(weight), bound * (1 + 1e-6)) << layer;
    EXPECT_NEAR(testing::root_mean_square(weight), bound / std::sqrt(3.0), 0.03 * bound) << layer;
    EXPECT_LE(testing::largest(bias), bound * (1 + 1e-6)) << layer;
    EXPECT_GT(testing::largest(bias), 0.8 * bound) << layer;
  }
}

TEST(AlexNet, OutputShapes) {
  AlexNet net(kSmall);
  net.eval();
  NoGradGuard no_grad;
  EXPECT_EQ(net.features(zeros({1, 224, 224, 3})).shape(), Shape({1, 6, 6, 256}));
  EXPECT_EQ(net.features(zeros({2, 63, 95, 3})).shape(), Shape({2, 1, 2, 256}));
  EXPECT_EQ(net(zeros({2, 63, 95, 3})).shape(), Shape({2, 4}));
  EXPECT_EQ(net(zeros({1, 257, 191, 3})).shape(), Shape({1, 4}));
}

TEST(AlexNet, ChecksItsInputAndConfiguration) {
  AlexNet net(kSmall);
  EXPECT_THROW(net(zeros({1, 62, 95, 3})), ShapeError);  // the last pool does not fit
  EXPECT_THROW(net(zeros({1, 3, 95, 95})), ShapeError);  // channels first
  EXPECT_THROW(AlexNet({.num_classes = 0}), ValueError);
  EXPECT_THROW(AlexNet({.hidden = 0}), ValueError);
  EXPECT_THROW(AlexNet({.hidden = 8, .dropout = -0.1}), ValueError);
}

// In training the hidden layers drop their inputs, and only in training.
TEST(AlexNet, DropsInTrainingOnly) {
  AlexNet net(kSmall);
  const Tensor x = testing::random_images({1, 63, 63, 3}, 2);
  EXPECT_NE(net(x).to_vector<float>(), net(x).to_vector<float>());
  net.eval();
  EXPECT_EQ(net(x).to_vector<float>(), net(x).to_vector<float>());
}

TEST(AlexNet, SavesAndLoads) {
  manual_seed(4);
  AlexNet from(kSmall);
  auto to = testing::undrawn<AlexNet>(kSmall);
  testing::expect_round_trip(from, to, testing::random_images({2, 63, 63, 3}));
}

TEST(AlexNetSlow, OverfitsABatch) {
  manual_seed(5);
  AlexNet net({.hidden = 64, .num_classes = 4, .dropout = 0});
  EXPECT_LT(testing::overfitted_loss(net, {4, 63, 63, 3}, 0.02, 60), 0.05);
}

}  // namespace
}  // namespace tessera::models

#include "models/squeezenet/squeezenet.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "autograd/node.h"
#include "tests/models/network_checks.h"

namespace tessera::models {
namespace {

using testing::entry;

SqueezeNetConfig small_config(const char* version) {
  SqueezeNetConfig c = squeezenet_config(version);
  c.num_classes = 4;
  return c;
}

TEST(SqueezeNet, CountsArePublished) {
  testing::expect_published({"squeezenet1_0", 1248424, 52, 818924576});
  testing::expect_published({"squeezenet1_1", 1235496, 52, 349151936});
}

TEST(SqueezeNet, NamesAndShapes) {
  for (const auto& [version, indices] : {std::pair{"1_0", std::array{3, 4, 5, 7, 8, 9, 10, 12}},
                                         std::pair{"1_1", std::array{3, 4, 6, 7, 9, 10, 11, 12}}}) {
    const SqueezeNet net(small_config(version));
    std::vector<std::string> names, want;
    const auto expect_layer = [&](const std::string& layer) {
      for (const char* kind : {".weight", ".bias"}) want.push_back(layer + kind);
    };
    for (const nn::StateEntry& e : net.state_dict()) names.push_back(e.name);
    expect_layer("features.0");
    for (const int index : indices)
      for (const char* layer : {".squeeze", ".expand1x1", ".expand3x3"})
        expect_layer(cat("features.", index, layer));
    expect_layer("classifier.1");
    EXPECT_EQ(names, want);
    EXPECT_EQ(entry(net, "features.12.squeeze.weight").shape(), Shape({64, 1, 1, 512}));
    EXPECT_EQ(entry(net, "features.12.expand3x3.weight").shape(), Shape({256, 3, 3, 64}));
    EXPECT_EQ(entry(net, "features.10.expand1x1.bias").shape(),
              Shape({version == std::string("1_0") ? 256 : 192}));
  }
}

TEST(SqueezeNet, InitialValues) {
  manual_seed(1);
  const SqueezeNet net(squeezenet_config("1_0"));
  // Kaiming uniform by fan-in: +-sqrt(6 / fan_in).
  for (const auto& [name, fan_in] : {std::pair{"features.0.weight", 3.0 * 49},
                                     std::pair{"features.12.expand3x3.weight", 64.0 * 9}}) {
    const double bound = std::sqrt(6 / fan_in);
    EXPECT_LE(testing::largest(entry(net, name)), bound * (1 + 1e-6)) << name;
    EXPECT_NEAR(testing::root_mean_square(entry(net, name)), bound / std::sqrt(3.0), 0.02 * bound);
  }
  EXPECT_NEAR(testing::root_mean_square(entry(net, "classifier.1.weight")), 0.01, 1e-4);
  EXPECT_GT(testing::largest(entry(net, "classifier.1.weight")), 0.035);  // normal
  for (const char* name : {"features.0.bias", "features.5.squeeze.bias", "classifier.1.bias"})
    EXPECT_EQ(testing::largest(entry(net, name)), 0) << name;
}

TEST(SqueezeNet, OutputShapes) {
  NoGradGuard no_grad;
  const auto shapes = [](const char* version, const Shape& x) {
    SqueezeNet net(small_config(version));
    net.eval();
    EXPECT_EQ(net(zeros(x)).shape(), Shape({x[0], 4}));
    return net.features(zeros(x)).shape();
  };
  EXPECT_EQ(shapes("1_0", {1, 224, 224, 3}), Shape({1, 13, 13, 512}));
  EXPECT_EQ(shapes("1_1", {1, 224, 224, 3}), Shape({1, 13, 13, 512}));
  // Pools round up; the first ones are the smallest images.
  EXPECT_EQ(shapes("1_0", {2, 21, 64, 3}), Shape({2, 1, 3, 512}));
  EXPECT_EQ(shapes("1_1", {2, 17, 65, 3}), Shape({2, 1, 4, 512}));
  EXPECT_EQ(shapes("1_0", {1, 31, 97, 3}), Shape({1, 1, 5, 512}));
  EXPECT_EQ(shapes("1_1", {1, 27, 65, 3}), Shape({1, 1, 4, 512}));
}

TEST(SqueezeNet, LogitsAreNotNegative) {
  manual_seed(2);
  SqueezeNet net(squeezenet_config("1_1"));
  const std::vector<float> logits =
      net(testing::random_images({2, 64, 64, 3}, 3)).to_vector<float>();
  EXPECT_GE(*std::min_element(logits.begin(), logits.end()), 0);
  EXPECT_GT(*std::max_element(logits.begin(), logits.end()), 0);
}

TEST(SqueezeNet, ChecksItsInputAndConfiguration) {
  SqueezeNet large(small_config("1_0")), small(small_config("1_1"));
  EXPECT_THROW(large(zeros({1, 20, 64, 3})), ShapeError);
  EXPECT_THROW(small(zeros({1, 16, 64, 3})), ShapeError);
  EXPECT_THROW(small(zeros({1, 3, 64, 64})), ShapeError);  // channels first
  EXPECT_THROW(squeezenet_config("1_2"), ValueError);
  SqueezeNetConfig c = small_config("1_0");
  c.fires[1] = 0;
  EXPECT_THROW(SqueezeNet{c}, ValueError);
  c = small_config("1_0");
  c.num_classes = 0;
  EXPECT_THROW(SqueezeNet{c}, ValueError);
  c = small_config("1_0");
  c.dropout = 2;
  EXPECT_THROW(SqueezeNet{c}, ValueError);
}

TEST(SqueezeNet, SavesAndLoads) {
  for (const char* version : {"1_0", "1_1"}) {
    manual_seed(4);
    SqueezeNet from(small_config(version));
    auto to = testing::undrawn<SqueezeNet>(small_config(version));
    testing::expect_round_trip(from, to, testing::random_images({2, 33, 47, 3}));
  }
}

// At a larger rate the ReLU on the logits dies.
TEST(SqueezeNetSlow, OverfitsABatch) {
  manual_seed(5);
  SqueezeNetConfig c = small_config("1_1");
  c.dropout = 0;
  SqueezeNet net(c);
  EXPECT_LT(testing::overfitted_loss(net, {4, 48, 48, 3}, 0.001, 80), 0.05);
}

}  // namespace
}  // namespace tessera::models

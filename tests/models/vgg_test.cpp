#include "models/vgg/vgg.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/node.h"
#include "models/registry.h"
#include "tests/models/network_checks.h"

namespace tessera::models {
namespace {

using testing::entry;
using testing::expect_published;

VggConfig small_config(bool batch_norm) {
  VggConfig c = vgg_config(11);
  c.batch_norm = batch_norm;
  c.hidden = 32;
  c.num_classes = 4;
  return c;
}

std::vector<std::string> names(const nn::Module& network) {
  std::vector<std::string> out;
  for (const nn::StateEntry& e : network.state_dict()) out.push_back(e.name);
  return out;
}

TEST(Vgg, CountsArePublished) {
  expect_published({"vgg11", 132863336, 22, 7609090048});
  expect_published({"vgg11_bn", 132868840, 62, 7609090048});
  expect_published({"vgg13", 133047848, 26, 11308466176});
  expect_published({"vgg13_bn", 133053736, 76, 11308466176});
  expect_published({"vgg16", 138357544, 32, 15470264320});
  expect_published({"vgg16_bn", 138365992, 97, 15470264320});
  expect_published({"vgg19", 143667240, 38, 19632062464});
  expect_published({"vgg19_bn", 143678248, 118, 19632062464});
}

TEST(Vgg, NamesCountReluAndPool) {
  VggConfig c = small_config(false);
  c.depths = vgg_config(16).depths;
  std::vector<std::string> want;
  for (const int index : {0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28})
    for (const char* kind : {"weight", "bias"}) want.push_back(cat("features.", index, ".", kind));
  for (const int index : {0, 3, 6})
    for (const char* kind : {"weight", "bias"})
      want.push_back(cat("classifier.", index, ".", kind));
  const Vgg plain(c);
  EXPECT_EQ(names(plain), want);
  int64_t convolutions = 0;
  for (const nn::StateEntry& e : plain.named_parameters())
    if (e.name.starts_with("features.")) convolutions += e.tensor.numel();
  EXPECT_EQ(convolutions, 14714688);  // the published count of VGG-16 without its classifier

  c.batch_norm = true;
  const Vgg normed(c);
  for (const int index : {0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40}) {
    const Tensor weight = entry(normed, cat("features.", index, ".weight"));
    EXPECT_EQ(weight.rank(), 4) << index;
    EXPECT_EQ(entry(normed, cat("features.", index, ".bias")).shape(), Shape({weight.shape()[0]}));
    EXPECT_EQ(entry(normed, cat("features.", index + 1, ".running_var")).shape(),
              Shape({weight.shape()[0]}));
  }
}

TEST(Vgg, InitialValues) {
  manual_seed(1);
  VggConfig c = small_config(true);
  c.hidden = 256;
  const Vgg net(c);
  // Kaiming normal by fan-out: sqrt(2 / (out * 9)).
  for (const auto& [name, out] :
       {std::pair{"features.4.weight", 128.0}, std::pair{"features.22.weight", 512.0}}) {
    const double want = std::sqrt(2 / (out * 9));
    EXPECT_NEAR(testing::root_mean_square(entry(net, name)), want, 0.02 * want) << name;
    EXPECT_GT(testing::largest(entry(net, name)), 3.5 * want) << name;  // not uniform
  }
  EXPECT_NEAR(testing::root_mean_square(entry(net, "classifier.0.weight")), 0.01, 1e-4);
  EXPECT_NEAR(testing::root_mean_square(entry(net, "classifier.3.weight")), 0.01, 2e-4);
  for (const char* name : {"features.0.bias", "features.25.bias", "classifier.0.bias",
                           "classifier.6.bias", "features.1.bias"})
    EXPECT_EQ(testing::largest(entry(net, name)), 0) << name;
}

TEST(Vgg, OutputShapes) {
  for (const bool batch_norm : {false, true}) {
    Vgg net(small_config(batch_norm));
    net.eval();
    NoGradGuard no_grad;
    EXPECT_EQ(net.features(zeros({2, 64, 32, 3})).shape(), Shape({2, 2, 1, 512}));
    EXPECT_EQ(net(zeros({2, 64, 32, 3})).shape(), Shape({2, 4}));
    EXPECT_EQ(net.features(zeros({1, 65, 95, 3})).shape(), Shape({1, 2, 2, 512}));
    EXPECT_EQ(net(zeros({1, 65, 95, 3})).shape(), Shape({1, 4}));
    EXPECT_EQ(net(zeros({1, 260, 33, 3})).shape(), Shape({1, 4}));  // 8 rows averaged to 7
  }
}

TEST(Vgg, ChecksItsInputAndConfiguration) {
  Vgg net(small_config(false));
  EXPECT_THROW(net(zeros({1, 31, 64, 3})), ShapeError);  // no pixel is left
  EXPECT_THROW(net(zeros({1, 3, 64, 64})), ShapeError);  // channels first
  EXPECT_THROW(net(zeros({64, 64, 3})), ShapeError);
  EXPECT_THROW(vgg_config(12), ValueError);
  const auto refuses = [](const std::function<void(VggConfig&)>& change) {
    VggConfig c = small_config(false);
    change(c);
    EXPECT_THROW(Vgg{c}, ValueError);
  };
  refuses([](VggConfig& c) { c.depths[3] = 0; });
  refuses([](VggConfig& c) { c.num_classes = 0; });
  refuses([](VggConfig& c) { c.hidden = 0; });
  refuses([](VggConfig& c) { c.dropout = 1.5; });
}

// Folded norms and fused ReLUs give what the recorded pass gives.
TEST(Vgg, InferenceEqualsTheRecordedPass) {
  for (const bool batch_norm : {false, true}) {
    manual_seed(7);
    Vgg net(small_config(batch_norm));
    testing::expect_folding_is_exact(net, testing::random_images({2, 32, 32, 3}, 8));
  }
}

TEST(Vgg, SavesAndLoads) {
  for (const bool batch_norm : {false, true}) {
    manual_seed(4);
    Vgg from(small_config(batch_norm));
    auto to = testing::undrawn<Vgg>(small_config(batch_norm));
    testing::expect_round_trip(from, to, testing::random_images({2, 32, 32, 3}));
  }
}

TEST(VggSlow, OverfitsABatch) {
  manual_seed(5);
  VggConfig c = small_config(true);
  c.depths = {1, 1, 1, 1, 1};
  c.dropout = 0;
  Vgg net(c);
  EXPECT_LT(testing::overfitted_loss(net, {4, 32, 32, 3}, 0.02, 30), 0.05);
}

TEST(Vgg, IsRegistered) {
  EXPECT_EQ(find_model("vgg19_bn").input_size, 224);
  EXPECT_THROW(find_model("vgg12"), ValueError);
}

}  // namespace
}  // namespace tessera::models

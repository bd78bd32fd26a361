#include "models/inception/inception_v3.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/engine.h"
#include "ops/loss/cross_entropy.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/random/random.h"
#include "tests/models/network_checks.h"

namespace tessera::models {
namespace {

using namespace testing;

InceptionV3Config small_config(bool aux = false) {
  return {.num_classes = 5, .aux_logits = aux, .dropout = 0};
}

// Tests that do not care how a network begins share one.
InceptionV3& network(bool aux) {
  static const auto make = [](bool with_aux) {
    auto net = std::make_unique<InceptionV3>(small_config(with_aux));
    make_responsive(*net);
    return net;
  };
  static const auto with = make(true), without = make(false);
  InceptionV3& net = aux ? *with : *without;
  net.eval();
  return net;
}

TEST(InceptionV3, ParametersEntriesAndMultiplyAddsArePublished) {
  expect_published({"inception_v3", 27161264, 580, 5713216096});
  EXPECT_EQ(network(false).parameter_count(), 23834568 - 2049 * 995);
  EXPECT_EQ(network(false).state_dict().size(), 566u);
}

TEST(InceptionV3, NamesShapesAndInitialValuesAreTorchvisions) {
  manual_seed(1);
  const InceptionV3 net(small_config(true));
  EXPECT_EQ(entry(net, "Conv2d_1a_3x3.conv.weight").shape(), Shape({32, 3, 3, 3}));
  EXPECT_EQ(entry(net, "Mixed_5b.branch5x5_2.conv.weight").shape(), Shape({64, 5, 5, 48}));
  EXPECT_EQ(entry(net, "Mixed_6c.branch7x7dbl_2.conv.weight").shape(), Shape({160, 7, 1, 160}));
  EXPECT_EQ(entry(net, "Mixed_6e.branch7x7_2.conv.weight").shape(), Shape({192, 1, 7, 192}));
  EXPECT_EQ(entry(net, "Mixed_7c.branch3x3dbl_3b.conv.weight").shape(), Shape({384, 3, 1, 384}));
  EXPECT_EQ(entry(net, "Mixed_7c.branch_pool.bn.bias").shape(), Shape({192}));
  EXPECT_EQ(entry(net, "AuxLogits.conv1.conv.weight").shape(), Shape({768, 5, 5, 128}));
  // conv1 of the auxiliary classifier too: torchvision's 0.01 for it never reaches the convolution.
  for (const char* name : {"Conv2d_2b_3x3.conv.weight", "AuxLogits.conv1.conv.weight", "fc.weight"})
    EXPECT_NEAR(root_mean_square(entry(net, name)), 0.1, 3e-3) << name;
  EXPECT_NEAR(root_mean_square(entry(net, "AuxLogits.fc.weight")), 0.001, 5e-5);
  EXPECT_LT(root_mean_square(entry(net, "fc.bias")), 1 / std::sqrt(2048.0));  // uniform in +- this
}

TEST(InceptionV3, OutputShapes) {
  NoGradGuard no_grad;
  InceptionV3& net = network(false);
  EXPECT_EQ(net(zeros({2, 96, 75, 3})).shape(), Shape({2, 5}));
  EXPECT_EQ(net.features(zeros({1, 299, 299, 3})).shape(), Shape({1, 8, 8, 2048}));
  EXPECT_EQ(net.features(zeros({1, 75, 75, 3})).shape(), Shape({1, 1, 1, 2048}));
  EXPECT_EQ(net.features(zeros({1, 76, 111, 3})).shape(), Shape({1, 1, 2, 2048}));
  EXPECT_EQ(net.features(zeros({1, 150, 139, 3})).shape(), Shape({1, 3, 3, 2048}));
  InceptionV3 pooled({.num_classes = 0});
  pooled.eval();
  EXPECT_EQ(pooled(zeros({2, 75, 75, 3})).shape(), Shape({2, 2048}));
  EXPECT_EQ(pooled.parameter_count(), 23834568 - 2049000);
}

TEST(InceptionV3, AuxiliaryClassifierInEvaluation) {
  NoGradGuard no_grad;
  InceptionV3& net = network(true);
  const Tensor x = random_images({1, 299, 299, 3});
  const InceptionV3Output out = net.forward_with_aux(x);
  EXPECT_EQ(out.aux.shape(), Shape({1, 5}));
  expect_near(out.logits, net(x), 1e-6);
  const std::string text = message_of<ShapeError>([&] {
    net.forward_with_aux(zeros({1, 299, 298, 3}));
  });
  EXPECT_NE(text.find("299 x 299"), std::string::npos) << text;
  EXPECT_THROW(network(false).forward_with_aux(x), Error);
}

TEST(InceptionV3Slow, AuxiliaryClassifierInTraining) {
  InceptionV3& net = network(true);
  net.train();
  const InceptionV3Output out = net.forward_with_aux(random_images({2, 299, 299, 3}));
  backward(cross_entropy(out.aux, arange(2)));
  for (const nn::StateEntry& p : net.named_parameters()) {
    const bool behind = p.name.starts_with("Mixed_7") || p.name.starts_with("fc.");
    EXPECT_EQ(p.tensor.grad().defined(), !behind) << p.name;
  }
}

// Published weights want 2 rgb - 1.
TEST(InceptionV3, TransformsItsInput) {
  InceptionV3Config c = small_config();
  c.transform_input = true;
  InceptionV3& plain = network(false);
  auto transforming = undrawn<InceptionV3>(c);
  transforming.load_state_dict(plain.state_dict());
  transforming.eval();
  Generator g(5);
  const Tensor rgb = rand({1, 75, 75, 3}, g);
  const Tensor mean = from_vector<float>({0.485f, 0.456f, 0.406f}),
               stddev = from_vector<float>({0.229f, 0.224f, 0.225f});
  NoGradGuard no_grad;
  expect_near(transforming((rgb - mean) / stddev), plain(2.0 * rgb - 1.0), 1e-4);
}

TEST(InceptionV3, FoldsItsNorms) {
  expect_folding_is_exact(network(false), random_images({3, 111, 97, 3}));
}

TEST(InceptionV3, SavesAndLoads) {
  auto to = undrawn<InceptionV3>(small_config(true));
  expect_round_trip(network(true), to, random_images({2, 75, 75, 3}));
}

TEST(InceptionV3, ChecksItsInputAndConfiguration) {
  InceptionV3& net = network(false);
  const std::string text = message_of<ShapeError>([&] { net(zeros({2, 74, 99, 3})); });
  EXPECT_NE(text.find("75 x 75"), std::string::npos) << text;
  EXPECT_NE(text.find("[2, 74, 99, 3]"), std::string::npos) << text;
  EXPECT_THROW(net(zeros({2, 3, 80, 80})), ShapeError);  // channels first
  EXPECT_THROW(net(zeros({80, 80, 3})), ShapeError);
  EXPECT_THROW(InceptionV3({.num_classes = -1}), ValueError);
  EXPECT_THROW(InceptionV3({.dropout = 2}), ValueError);
}

}  // namespace
}  // namespace tessera::models

#include "models/inception/googlenet.h"

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

GoogLeNetConfig small_config(bool aux = false) {
  return {.num_classes = 5, .aux_logits = aux, .dropout = 0, .aux_dropout = 0};
}

// Tests that do not care how a network begins share one.
GoogLeNet& network(bool aux) {
  static const auto make = [](bool with_aux) {
    auto net = std::make_unique<GoogLeNet>(small_config(with_aux));
    make_responsive(*net);
    return net;
  };
  static const auto with = make(true), without = make(false);
  GoogLeNet& net = aux ? *with : *without;
  net.zero_grad();
  net.eval();
  return net;
}

TEST(GoogLeNet, ParametersEntriesAndMultiplyAddsArePublished) {
  expect_published({"googlenet", 13004888, 364, 1498376192});
  EXPECT_EQ(network(false).parameter_count(), 6624904 - 1025 * 995);
  EXPECT_EQ(network(false).state_dict().size(), 344u);
}

TEST(GoogLeNet, NamesShapesAndInitialValuesAreTorchvisions) {
  manual_seed(1);
  const GoogLeNet net(small_config(true));
  EXPECT_EQ(entry(net, "conv1.conv.weight").shape(), Shape({64, 7, 7, 3}));
  EXPECT_EQ(entry(net, "inception3a.branch3.1.conv.weight").shape(), Shape({32, 3, 3, 16}));
  EXPECT_EQ(entry(net, "inception5b.branch4.1.bn.running_var").shape(), Shape({128}));
  EXPECT_EQ(entry(net, "aux2.conv.conv.weight").shape(), Shape({128, 1, 1, 528}));
  EXPECT_EQ(entry(net, "aux1.fc1.weight").shape(), Shape({1024, 2048}));
  EXPECT_THROW(entry(net, "inception3a.branch4.0.conv.weight"), ValueError);  // a pool
  for (const char* name :
       {"conv1.conv.weight", "inception4c.branch2.1.conv.weight", "aux1.fc1.weight", "fc.weight"})
    EXPECT_NEAR(root_mean_square(entry(net, name)), 0.01, 4e-4) << name;
  EXPECT_NEAR(root_mean_square(entry(net, "aux1.fc1.bias")), 1 / std::sqrt(3 * 2048.0),
              1e-3);  // uniform
}

TEST(GoogLeNet, OutputShapes) {
  NoGradGuard no_grad;
  GoogLeNet& net = network(false);
  EXPECT_EQ(net(zeros({2, 64, 48, 3})).shape(), Shape({2, 5}));
  EXPECT_EQ(net.features(zeros({1, 224, 224, 3})).shape(), Shape({1, 7, 7, 1024}));
  EXPECT_EQ(net.features(zeros({1, 15, 15, 3})).shape(), Shape({1, 1, 1, 1024}));
  EXPECT_EQ(net.features(zeros({1, 33, 65, 3})).shape(), Shape({1, 1, 2, 1024}));
  GoogLeNet pooled({.num_classes = 0});
  pooled.eval();
  EXPECT_EQ(pooled(zeros({2, 32, 32, 3})).shape(), Shape({2, 1024}));
  EXPECT_EQ(pooled.parameter_count(), 6624904 - 1025000);
}

TEST(GoogLeNet, AuxiliaryClassifiers) {
  GoogLeNet& net = network(true);
  net.train();
  const Tensor x = random_images({3, 64, 48, 3}), target = arange(3);
  backward(cross_entropy(net(x), target));
  for (const nn::StateEntry& p : net.named_parameters())  // forward() leaves them out
    EXPECT_EQ(p.tensor.grad().defined(), !p.name.starts_with("aux")) << p.name;
  net.zero_grad();
  const GoogLeNetOutput out = net.forward_with_aux(x);
  for (const Tensor& logits : {out.logits, out.aux1, out.aux2})
    EXPECT_EQ(logits.shape(), Shape({3, 5}));
  backward(cross_entropy(out.aux1, target) + cross_entropy(out.aux2, target));
  const auto has_gradient = [&](const std::string& name) {
    return entry(net, name).grad().defined();
  };
  EXPECT_TRUE(has_gradient("aux1.fc2.weight") && has_gradient("aux2.conv.conv.weight"));
  EXPECT_TRUE(has_gradient("inception4d.branch1.conv.weight"));
  EXPECT_FALSE(has_gradient("inception4e.branch1.conv.weight"));  // behind both
  net.eval();
  expect_near(net.forward_with_aux(x).logits, net(x), 1e-6);
  EXPECT_THROW(network(false).forward_with_aux(x), Error);
}

// Published weights want 2 rgb - 1.
TEST(GoogLeNet, TransformsItsInput) {
  GoogLeNetConfig c = small_config();
  c.transform_input = true;
  GoogLeNet& plain = network(false);
  auto transforming = undrawn<GoogLeNet>(c);
  transforming.load_state_dict(plain.state_dict());
  transforming.eval();
  Generator g(4);
  const Tensor rgb = rand({2, 32, 32, 3}, g);
  const Tensor mean = from_vector<float>({0.485f, 0.456f, 0.406f}),
               stddev = from_vector<float>({0.229f, 0.224f, 0.225f});
  NoGradGuard no_grad;
  expect_near(transforming((rgb - mean) / stddev), plain(2.0 * rgb - 1.0), 1e-5);
}

TEST(GoogLeNet, FoldsItsNorms) {
  expect_folding_is_exact(network(false), random_images({4, 65, 47, 3}));
}

TEST(GoogLeNet, SavesAndLoads) {
  auto to = undrawn<GoogLeNet>(small_config(true));
  expect_round_trip(network(true), to, random_images({2, 32, 32, 3}));
}

TEST(GoogLeNet, ChecksItsInputAndConfiguration) {
  GoogLeNet& net = network(false);
  const std::string text = message_of<ShapeError>([&] { net(zeros({2, 32, 14, 3})); });
  EXPECT_NE(text.find("15 x 15"), std::string::npos) << text;
  EXPECT_NE(text.find("[2, 32, 14, 3]"), std::string::npos) << text;
  EXPECT_THROW(net(zeros({2, 3, 32, 32})), ShapeError);  // channels first
  EXPECT_THROW(net(zeros({32, 32, 3})), ShapeError);
  EXPECT_THROW(GoogLeNet({.num_classes = -1}), ValueError);
  EXPECT_THROW(GoogLeNet({.dropout = 1.5}), ValueError);
  EXPECT_THROW(GoogLeNet({.aux_dropout = -0.5}), ValueError);
}

}  // namespace
}  // namespace tessera::models

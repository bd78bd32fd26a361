#include <gtest/gtest.h>

#include <cmath>

#include "autograd/engine.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/dropout.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "nn/mac_counter.h"
#include "ops/norm/group_norm.h"
#include "ops/norm/instance_norm.h"
#include "ops/norm/layer_norm.h"
#include "ops/random/random.h"
#include "tensor/view.h"

namespace tessera::nn {
namespace {

using Values = std::vector<double>;

Tensor random(const Shape& shape, uint64_t seed = 1) {
  Generator g(seed);
  return randn(shape, g, {.dtype = DType::f64});
}

void expect_near(const Tensor& a, const Tensor& b, double tolerance = 1e-12) {
  ASSERT_EQ(a.shape(), b.shape());
  const Values x = a.to_vector<double>(), y = b.to_vector<double>();
  for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], tolerance) << "element " << i;
}

TEST(Layers, LinearIsXTimesWTransposedPlusB) {
  Linear linear(3, 2);
  linear.to(DType::f64);
  const Tensor x = random({2, 4, 3});
  const Values w = linear.weight.to_vector<double>(), b = linear.bias.to_vector<double>(),
               v = x.to_vector<double>(), y = linear(x).to_vector<double>();
  ASSERT_EQ(linear(x).shape(), Shape({2, 4, 2}));
  for (size_t n = 0; n < 8; ++n)
    for (size_t o = 0; o < 2; ++o) {
      double sum = b[o];
      for (size_t i = 0; i < 3; ++i) sum += v[n * 3 + i] * w[o * 3 + i];
      EXPECT_NEAR(y[n * 2 + o], sum, 1e-12);
    }
  Linear bare(3, 2, false);
  EXPECT_FALSE(bare.bias.defined());
  EXPECT_EQ(bare.parameters().size(), 1u);
  EXPECT_THROW(linear(random({2, 4})), ShapeError);
}

TEST(Layers, Conv2dIsTheOperatorWithItsOptions) {
  Conv2d conv(4, 6, {3, 2}, {.stride = 2, .padding = {1, 0}, .dilation = {1, 2}, .groups = 2});
  conv.to(DType::f64);
  EXPECT_EQ(conv.weight.shape(), Shape({6, 3, 2, 2}));
  const Tensor x = random({2, 7, 9, 4});
  expect_near(conv(x), conv2d(x, conv.weight, conv.bias,
                              {.stride = 2, .padding = {1, 0}, .dilation = {1, 2}, .groups = 2}));
  EXPECT_THROW(Conv2d(4, 6, 3, {.groups = 4}), ValueError);
  EXPECT_THROW(Conv2d(4, 6, 3, {.groups = 0}), ValueError);
  EXPECT_FALSE(Conv2d(4, 6, 3, {.bias = false}).bias.defined());
}

TEST(Layers, ConvTranspose2dIsTheAdjoint) {
  ConvTranspose2d up(3, 4, 3, {.stride = 2, .padding = 1, .output_padding = 1, .bias = false});
  up.to(DType::f64);
  EXPECT_EQ(up.weight.shape(), Shape({3, 3, 3, 4}));
  const Tensor x = random({1, 4, 5, 3}), y = up(x), u = random(y.shape(), 2);
  EXPECT_EQ(y.shape(), Shape({1, 8, 10, 4}));
  // <up(x), u> = <x, conv(u)> for the convolution that has the same filter.
  const Values a = y.to_vector<double>(), b = u.to_vector<double>(), v = x.to_vector<double>(),
               c = conv2d(u, up.weight, {}, {.stride = 2, .padding = 1}).to_vector<double>();
  ASSERT_EQ(c.size(), v.size());
  double left = 0, right = 0;
  for (size_t i = 0; i < a.size(); ++i) left += a[i] * b[i];
  for (size_t i = 0; i < v.size(); ++i) right += v[i] * c[i];
  EXPECT_NEAR(left, right, 1e-9);
  EXPECT_THROW(ConvTranspose2d(4, 6, 3, {.groups = 4}), ValueError);
}

TEST(Layers, BatchNormTrainsAndEvaluates) {
  BatchNorm norm(2, {.eps = 1e-3, .momentum = 0.25});
  norm.to(DType::f64);
  fill_(norm.weight, 2);
  fill_(norm.bias, 1);
  const Tensor x = from_vector<double>({1, 10, 3, 20, 5, 60}, {3, 2});
  const Tensor y = norm(x);
  // Channel 0: mean 3, variance 8/3 biased and 4 unbiased. Channel 1: mean 30, 1400/3 and 700.
  const Values v = y.to_vector<double>();
  EXPECT_NEAR(v[0], 1 + 2 * (1 - 3) / std::sqrt(8.0 / 3 + 1e-3), 1e-12);
  EXPECT_NEAR(v[5], 1 + 2 * (60 - 30) / std::sqrt(1400.0 / 3 + 1e-3), 1e-12);
  expect_near(norm.running_mean, from_vector<double>({0.25 * 3, 0.25 * 30}));
  expect_near(norm.running_var, from_vector<double>({0.75 + 0.25 * 4, 0.75 + 0.25 * 700}));
  EXPECT_EQ(norm.num_batches_tracked.item<int64_t>(), 1);

  norm.eval();
  const Values before = norm.running_var.to_vector<double>();
  const Values e = norm(x).to_vector<double>();
  EXPECT_NEAR(e[2], 1 + 2 * (3 - 0.75) / std::sqrt(1.75 + 1e-3), 1e-12);
  EXPECT_EQ(norm.running_var.to_vector<double>(), before);
  EXPECT_EQ(norm.num_batches_tracked.item<int64_t>(), 1);

  // One value per channel has no variance to learn from.
  norm.train();
  EXPECT_THROW(norm(ones({1, 2}, DType::f64)), ValueError);
  EXPECT_EQ(norm.num_batches_tracked.item<int64_t>(), 1);
  BatchNorm plain(2, {.affine = false});
  EXPECT_TRUE(plain.parameters().empty());
  EXPECT_EQ(plain.state_dict().size(), 3u);
}

TEST(Layers, OtherNormsAreTheirOperators) {
  const Tensor x = random({2, 3, 4, 6});
  InstanceNorm instance(6, {.eps = 1e-4, .affine = true});
  LayerNorm layer({6}, 1e-3);
  GroupNorm group(3, 6, 1e-2);
  for (Module* m : std::initializer_list<Module*>{&instance, &layer, &group}) {
    m->to(DType::f64);
    Tensor bias = m->parameters()[1].detach();
    fill_(bias, 0.5);
  }
  expect_near(instance(x), instance_norm(x, instance.weight, instance.bias, 1e-4));
  expect_near(layer(x), layer_norm(x, {6}, layer.weight, layer.bias, 1e-3));
  expect_near(group(x), group_norm(x, 3, group.weight, group.bias, 1e-2));
  const Tensor y = instance(x);
  instance.eval();
  expect_near(instance(x), y, 0);  // the statistics of the image, in evaluation too
  EXPECT_TRUE(InstanceNorm(6).parameters().empty());
  EXPECT_THROW(GroupNorm(4, 6), ValueError);
}

TEST(Layers, DropoutOnlyInTraining) {
  manual_seed(5);
  Dropout dropout(0.25);
  const Tensor x = ones({4000}, DType::f64);
  const Values y = dropout(x).to_vector<double>();
  int64_t dropped = 0;
  for (double v : y) {
    if (v == 0)
      ++dropped;
    else
      EXPECT_DOUBLE_EQ(v, 1 / 0.75);
  }
  EXPECT_NEAR(static_cast<double>(dropped), 1000, 140);  // 5 sigma
  EXPECT_NE(dropout(x).to_vector<double>(), y);
  manual_seed(5);
  EXPECT_EQ(dropout(x).to_vector<double>(), y);
  dropout.eval();
  const Generator::State before = default_generator().state();
  EXPECT_EQ(dropout(x).to_vector<double>(), x.to_vector<double>());
  EXPECT_EQ(default_generator().state(), before);
  EXPECT_THROW(Dropout(1.5), ValueError);
  EXPECT_THROW(Dropout(-0.1), ValueError);
}

TEST(Layers, DropPathDropsWholeSamples) {
  manual_seed(6);
  DropPath path(0.5);
  const Values y = path(ones({200, 3}, DType::f64)).to_vector<double>();
  int64_t kept = 0;
  for (size_t n = 0; n < 200; ++n) {
    EXPECT_EQ(y[n * 3], y[n * 3 + 1]);
    EXPECT_EQ(y[n * 3], y[n * 3 + 2]);
    EXPECT_TRUE(y[n * 3] == 0 || y[n * 3] == 2) << y[n * 3];
    kept += y[n * 3] == 2;
  }
  EXPECT_NEAR(static_cast<double>(kept), 100, 36);
  EXPECT_THROW(DropPath(2), ValueError);
}

TEST(Layers, SequentialRunsInOrder) {
  const auto twice = [](const Tensor& x) { return full_like(x, 2 * x.item()); };
  const auto plus = [](const Tensor& x) { return full_like(x, x.item() + 1); };
  Sequential s{std::make_shared<Lambda>(twice), std::make_shared<Lambda>(plus),
               std::make_shared<Identity>()};
  EXPECT_EQ(s(full({}, 5)).item(), 11);
  EXPECT_EQ(s.size(), 3u);
  EXPECT_EQ(s.children()[1].first, "1");
  EXPECT_EQ(s[2], s.children()[2].second);
  EXPECT_THROW(s[3], std::out_of_range);
}

TEST(Layers, FlattenIsChannelMajor) {
  // NHWC element (0, h, w, c) goes to position c * H * W + h * W + w.
  const Tensor x = view::reshape(arange(2 * 3 * 4, DType::f64), {1, 2, 3, 4});
  Flatten flatten;
  const Values v = x.to_vector<double>(), y = flatten(x).to_vector<double>();
  EXPECT_EQ(flatten(x).shape(), Shape({1, 24}));
  for (size_t h = 0; h < 2; ++h)
    for (size_t w = 0; w < 3; ++w)
      for (size_t c = 0; c < 4; ++c) EXPECT_EQ(y[c * 6 + h * 3 + w], v[(h * 3 + w) * 4 + c]);
  EXPECT_EQ(flatten(random({2, 1, 1, 5})).shape(), Shape({2, 5}));
  EXPECT_EQ(flatten(random({2, 3, 5})).shape(), Shape({2, 15}));
}

TEST(Layers, GradientsReachEveryParameter) {
  Sequential net{std::make_shared<Conv2d>(3, 4, 3, Conv2d::Options{.padding = 1}),
                 std::make_shared<BatchNorm>(4), std::make_shared<Flatten>(),
                 std::make_shared<Linear>(4 * 16, 2)};
  net.to(DType::f64);
  const Tensor y = net(random({3, 4, 4, 3}));
  backward(y, random(y.shape(), 3));
  for (const StateEntry& e : net.named_parameters()) {
    ASSERT_TRUE(e.tensor.grad().defined()) << e.name;
    EXPECT_EQ(e.tensor.grad().shape(), e.tensor.shape());
    double norm = 0;
    for (double v : e.tensor.grad().to_vector<double>()) norm += v * v;
    // A bias in front of batch norm has no influence; its gradient is rounding.
    if (e.name != "0.bias") {
      EXPECT_GT(norm, 1e-6) << e.name;
    }
  }
}

TEST(MacCounter, CountsConvolutionsAndLinearLayersOfAnImageInnermost) {
  Conv2d conv(4, 6, 3, {.stride = 2, .padding = 1, .groups = 2});
  Linear linear(5, 7);
  MacCounter outer;
  conv(zeros({2, 8, 8, 4}));
  EXPECT_EQ(outer.macs(), 4 * 4 * 6 * 3 * 3 * 2);
  {
    MacCounter inner;
    linear(zeros({3, 5}));
    EXPECT_EQ(inner.macs(), 5 * 7);
    linear(zeros({0, 2, 3, 5}));
    EXPECT_EQ(inner.macs(), 5 * 7 + 2 * 3 * 5 * 7);
    ConvTranspose2d(4, 2, 3)(zeros({0, 6, 5, 4}));
    EXPECT_EQ(inner.macs(), 5 * 7 + 2 * 3 * 5 * 7 + 6 * 5 * 4 * 3 * 3 * 2);
  }
  conv(zeros({0, 8, 8, 4}));
  EXPECT_EQ(outer.macs(), 2 * 4 * 4 * 6 * 3 * 3 * 2);
}

}  // namespace
}  // namespace tessera::nn

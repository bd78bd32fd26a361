#include "nn/init.h"

#include <gtest/gtest.h>

#include <cmath>

#include "nn/layers/conv.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"

namespace tessera::nn::init {
namespace {

struct Statistics {
  double mean = 0, stddev = 0, lo = 1e300, hi = -1e300;
};

Statistics statistics(const Tensor& t) {
  Statistics s;
  const std::vector<double> v = t.to_vector<double>();
  for (double e : v) {
    s.mean += e / static_cast<double>(v.size());
    s.lo = std::min(s.lo, e);
    s.hi = std::max(s.hi, e);
  }
  for (double e : v) s.stddev += (e - s.mean) * (e - s.mean) / static_cast<double>(v.size());
  s.stddev = std::sqrt(s.stddev);
  return s;
}

// Of 64 * 3 * 3 * 32 = 18432 elements the sample deviation is within 3 % (5 sigma: 2.6 %).
constexpr double kShare = 0.03;

void expect_normal(const Tensor& t, double stddev) {
  const Statistics s = statistics(t);
  EXPECT_NEAR(s.stddev, stddev, kShare * stddev);
  EXPECT_NEAR(s.mean, 0, 5 * stddev / std::sqrt(static_cast<double>(t.numel())));
  EXPECT_GT(s.hi, 3 * stddev);  // a uniform with this deviation would end at 1.73
}

void expect_uniform(const Tensor& t, double bound) {
  const Statistics s = statistics(t);
  EXPECT_LE(s.hi, bound);
  EXPECT_GE(s.lo, -bound);
  EXPECT_GT(s.hi, 0.98 * bound);
  EXPECT_LT(s.lo, -0.98 * bound);
  EXPECT_NEAR(s.stddev, bound / std::sqrt(3.0), kShare * bound);
}

Tensor filter() { return empty({64, 3, 3, 32}); }  // OHWI: fan_in 288, fan_out 576

TEST(Init, FansOfMatricesAndFilters) {
  EXPECT_EQ(fans(empty({5, 7})).in, 7);
  EXPECT_EQ(fans(empty({5, 7})).out, 5);
  EXPECT_EQ(fans(filter()).in, 288);
  EXPECT_EQ(fans(filter()).out, 576);
  EXPECT_EQ(fans(empty({8, 3, 3, 1})).in, 9);  // depthwise
  EXPECT_EQ(fans(empty({8, 3, 3, 1})).out, 72);
  EXPECT_THROW(fans(empty({5})), ShapeError);
}

TEST(Init, Gains) {
  EXPECT_DOUBLE_EQ(gain_relu(), std::sqrt(2.0));
  EXPECT_DOUBLE_EQ(gain_leaky_relu(0.1), std::sqrt(2 / 1.01));
  EXPECT_DOUBLE_EQ(gain_tanh(), 5.0 / 3);
}

TEST(Init, KaimingAndXavierStatistics) {
  Generator g(3);
  const Tensor w = filter();
  kaiming_normal_(w, Fan::in, gain_relu(), g);
  expect_normal(w, std::sqrt(2.0 / 288));
  kaiming_normal_(w, Fan::out, gain_relu(), g);
  expect_normal(w, std::sqrt(2.0 / 576));
  kaiming_uniform_(w, Fan::in, 1, g);
  expect_uniform(w, std::sqrt(3.0 / 288));
  kaiming_uniform_(w, Fan::out, gain_leaky_relu(0.2), g);
  expect_uniform(w, std::sqrt(2 / 1.04) * std::sqrt(3.0 / 576));
  xavier_normal_(w, 2, g);
  expect_normal(w, 2 * std::sqrt(2.0 / (288 + 576)));
  xavier_uniform_(w, gain_tanh(), g);
  expect_uniform(w, 5.0 / 3 * std::sqrt(6.0 / (288 + 576)));
}

TEST(Init, SameGeneratorSameValues) {
  Generator a(9), b(9);
  const Tensor x = filter(), y = filter(), z = filter();
  kaiming_normal_(x, Fan::in, 1, a);
  kaiming_normal_(y, Fan::in, 1, b);
  kaiming_normal_(z, Fan::in, 1, b);
  EXPECT_EQ(x.to_vector<float>(), y.to_vector<float>());
  EXPECT_NE(x.to_vector<float>(), z.to_vector<float>());
}

TEST(Init, TruncatedNormal) {
  for (DType dtype : {DType::f32, DType::f64}) {
    Generator g(4);
    const Tensor w = empty({20000}, dtype);
    trunc_normal_(w, 0.5, 1, -0.5, 2.5, g);  // -1 to 2 deviations
    const Statistics s = statistics(w);
    EXPECT_GE(s.lo, -0.5);
    EXPECT_LE(s.hi, 2.5);
    // (phi(-1) - phi(2)) / (Phi(2) - Phi(-1)) above the mean, by the textbook formulas.
    const double share = 0.8185946784, a = 0.2419707245, b = 0.0539909665;
    const double shift = (a - b) / share;
    EXPECT_NEAR(s.mean, 0.5 + shift, 0.03);
    const double variance = 1 + (-1 * a - 2 * b) / share - shift * shift;
    EXPECT_NEAR(s.stddev, std::sqrt(variance), 0.02);
  }
}

TEST(Init, ConstantAndNormalAndUniform) {
  Generator g(5);
  const Tensor w = empty({100, 200}, DType::f64);
  constant_(w, 2.5);
  EXPECT_EQ(statistics(w).lo, 2.5);
  EXPECT_EQ(statistics(w).hi, 2.5);
  normal_(w, 3, 0.25, g);
  EXPECT_NEAR(statistics(w).mean, 3, 0.01);
  EXPECT_NEAR(statistics(w).stddev, 0.25, 0.01);
  uniform_(w, -1, 3, g);
  EXPECT_NEAR(statistics(w).mean, 1, 0.05);
  EXPECT_GE(statistics(w).lo, -1);
  EXPECT_LT(statistics(w).hi, 3);
}

// W W^T (or W^T W) is gain^2 times the identity, for the shorter side of (out, rest).
void expect_orthogonal(const Shape& shape, double gain) {
  Generator g(6);
  const Tensor w = empty(shape, DType::f64);
  orthogonal_(w, gain, g);
  const int64_t rows = shape[0], columns = w.numel() / rows;
  const std::vector<double> v = w.to_vector<double>();
  const bool wide = rows <= columns;
  const int64_t count = wide ? rows : columns, length = wide ? columns : rows;
  const auto at = [&](int64_t i, int64_t k) {
    return v[static_cast<size_t>(wide ? i * columns + k : k * columns + i)];
  };
  for (int64_t i = 0; i < count; ++i)
    for (int64_t j = 0; j < count; ++j) {
      double dot = 0;
      for (int64_t k = 0; k < length; ++k) dot += at(i, k) * at(j, k);
      EXPECT_NEAR(dot, i == j ? gain * gain : 0, 1e-12) << shape << " " << i << " " << j;
    }
}

TEST(Init, Orthogonal) {
  expect_orthogonal({5, 5}, 1);
  expect_orthogonal({4, 9}, 1.5);
  expect_orthogonal({9, 4}, 0.5);
  expect_orthogonal({6, 3, 3, 2}, 1);
  Generator g(7);
  EXPECT_THROW(orthogonal_(empty({4}), 1, g), ShapeError);
}

// The first column of an orthogonal matrix must point both ways (Haar measure): a fixed sign of the
// diagonal of Q would show here.
TEST(Init, OrthogonalHasNoPreferredSign) {
  Generator g(8);
  int positive = 0;
  for (int i = 0; i < 200; ++i) {
    const Tensor w = empty({3, 3}, DType::f64);
    orthogonal_(w, 1, g);
    positive += w.to_vector<double>()[0] > 0;
  }
  EXPECT_GT(positive, 60);
  EXPECT_LT(positive, 140);
}

TEST(Init, FillsInPlaceAndKeepsTheParameter) {
  Linear linear(30, 20);
  const Tensor handle = linear.weight;
  constant_(linear.weight.detach(), 0.25);
  EXPECT_EQ(statistics(handle).lo, 0.25);
  EXPECT_TRUE(handle.requires_grad());
  EXPECT_TRUE(handle.is_leaf());
}

// Every function of nn/init.h that draws.
void draw_everything(const Tensor& w, Generator& g) {
  uniform_(w, -1, 1, g);
  normal_(w, 0, 1, g);
  trunc_normal_(w, 0, 1, -2, 2, g);
  fan_in_uniform_(w, 9, g);
  kaiming_normal_(w, Fan::in, 1, g);
  kaiming_uniform_(w, Fan::in, 1, g);
  xavier_normal_(w, 1, g);
  xavier_uniform_(w, 1, g);
  orthogonal_(w, 1, g);
}

TEST(Skip, DrawsNothingButMovesTheGeneratorOn) {
  for (DType dtype : {DType::f32, DType::f64}) {
    const Tensor w = full({5, 3, 3, 7}, 0.5, dtype);
    Generator skipped(3), drawn(3);
    {
      const Skip outer;
      {
        const Skip inner;
        constant_(w, 2);
        draw_everything(w, skipped);
      }
      normal_(w, 0, 1, skipped);  // they nest
      EXPECT_EQ(statistics(w).lo, 0.5);
      EXPECT_EQ(statistics(w).hi, 0.5);
    }
    draw_everything(w, drawn);
    normal_(w, 0, 1, drawn);
    EXPECT_EQ(skipped.state(), drawn.state());
    EXPECT_NE(statistics(w).lo, 0.5);
  }
}

TEST(Skip, LayersHoldZeros) {
  const auto zero = [](const Tensor& t) { return statistics(t).lo == 0 && statistics(t).hi == 0; };
  constant_(empty({6, 3, 3, 8}), 1);  // memory that is used again is not zero by itself
  manual_seed(1);
  {
    const Skip skip;
    const Linear linear(20, 30);
    const Conv2d conv(8, 6, 3);
    const ConvTranspose2d up(6, 4, 3);
    for (const Tensor& t : {linear.weight, linear.bias, conv.weight, conv.bias, up.weight, up.bias})
      EXPECT_TRUE(zero(t)) << t.shape();
    EXPECT_EQ(statistics(BatchNorm(3).weight).lo, 1);
  }
  const std::vector<float> after = Linear(20, 30).weight.to_vector<float>();
  manual_seed(1);
  const Linear linear(20, 30);
  const Conv2d conv(8, 6, 3);
  const ConvTranspose2d up(6, 4, 3);
  EXPECT_FALSE(zero(up.bias));
  EXPECT_EQ(Linear(20, 30).weight.to_vector<float>(), after);
}

// torch: kaiming_uniform(a = sqrt(5)) is a bound of 1 / sqrt(fan_in); the bias has the same.
TEST(LayerDefaults, RangesAreTorchs) {
  manual_seed(11);
  Linear linear(50, 400);
  expect_uniform(linear.weight, 1 / std::sqrt(50.0));
  EXPECT_LE(statistics(linear.bias).hi, 1 / std::sqrt(50.0));
  EXPECT_LT(statistics(linear.bias).lo, -0.9 / std::sqrt(50.0));

  Conv2d conv(32, 64, 3);
  expect_uniform(conv.weight, 1 / std::sqrt(288.0));
  Conv2d grouped(32, 640, 3, {.groups = 16});  // two input channels a group
  expect_uniform(grouped.weight, 1 / std::sqrt(18.0));
  EXPECT_GT(statistics(grouped.bias).hi, 0.9 / std::sqrt(18.0));
  EXPECT_LE(statistics(grouped.bias).hi, 1 / std::sqrt(18.0));
  // torch's weight of a transposed convolution is (in, out / groups, KH, KW); its fan_in is the
  // second axis.
  ConvTranspose2d up(64, 40, 3);
  expect_uniform(up.weight, 1 / std::sqrt(360.0));

  BatchNorm norm(8);
  EXPECT_EQ(statistics(norm.weight).lo, 1);
  EXPECT_EQ(statistics(norm.bias).hi, 0);
  EXPECT_EQ(statistics(norm.running_mean).hi, 0);
  EXPECT_EQ(statistics(norm.running_var).lo, 1);
  EXPECT_EQ(norm.num_batches_tracked.item<int64_t>(), 0);
}

}  // namespace
}  // namespace tessera::nn::init

#include "ops/conv/conv2d_resample.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/image/upfirdn2d.h"
#include "tensor/view.h"
#include "tests/ops/op_case.h"

namespace tessera {
namespace {

std::vector<double> rounded(const Tensor& t, double scale) {
  std::vector<double> v = t.to_vector<double>();
  for (double& e : v) e = std::round(e * scale * 1024) / 1024;
  return v;
}

// Results of the original, from its specification.
TEST(Conv2dResample, StoredResults) {
  const Tensor f = setup_filter(from_vector(std::vector<float>{1, 3, 3, 1}));
  const Tensor w = from_vector(std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 3, 3, 1});
  const Tensor x = from_vector(std::vector<float>{1, 2, 3, 4}, {1, 2, 2, 1});
  const ImagePad one{1, 1, 1, 1};
  EXPECT_EQ(rounded(conv2d_resample(x, w, f, {.up = 2, .padding = one, .flip_weight = false}), 16),
            (std::vector<double>{273, 475, 596, 543, 576, 970, 1175, 1035, 900, 1450, 1685, 1431,
                                 1023, 1591, 1790, 1473}));
  EXPECT_EQ(rounded(conv2d_resample(x, w, f, {.up = 2, .padding = one}), 16),
            (std::vector<double>{607, 945, 1064, 817, 1054, 1560, 1685, 1255, 1210, 1740, 1835,
                                 1339, 817, 1149, 1190, 847}));
  std::vector<float> ramp(16);
  for (size_t i = 0; i < 16; ++i) ramp[i] = static_cast<float>(i);
  const Tensor four = from_vector(ramp, {1, 4, 4, 1});
  EXPECT_EQ(rounded(conv2d_resample(four, w, f, {.down = 2, .padding = one}), 64),
            (std::vector<double>{11771, 13214, 16919, 17186}));
  EXPECT_EQ(rounded(conv2d_resample(four, ones({1, 1, 1, 1}), f, {.down = 2}), 64),
            (std::vector<double>{175, 252, 483, 560}));
}

TEST(ModulatedConv2d, StoredResults) {
  std::vector<float> w(8);
  for (size_t i = 0; i < 8; ++i) w[i] = static_cast<float>(i + 1) / 8;
  const Tensor weight = from_vector(w, {2, 1, 1, 4}), x = ones({2, 1, 1, 4});
  const Tensor s = from_vector(std::vector<float>{1, 2, 0.5f, -1, 0.25f, 1, 1, 3}, {2, 4});
  const double demodulated[] = {0.421076, 0.798189, 1.376426, 1.485997};
  const double plain[] = {0.3125, 1.5625, 2.15625, 4.78125};
  const auto a = modulated_conv2d(x, weight, s, {}).to_vector<double>();
  const auto b = modulated_conv2d(x, weight, s, {}, {.demodulate = false}).to_vector<double>();
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(a[i], demodulated[i], 1e-6) << i;
    EXPECT_NEAR(b[i], plain[i], 1e-6) << i;
  }
}

// Large weights and styles would overflow f16 on the way; what comes out is of moderate size.
TEST(ModulatedConv2d, HalfDoesNotOverflow) {
  const auto values = [](const char* name, const Shape& shape, double size) {
    return from_vector(testing::hash_uniform(name, numel(shape), -size, size), shape);
  };
  const Tensor x = values("x", {2, 4, 4, 8}, 1), w = values("w", {4, 3, 3, 8}, 3e4);
  const Tensor s = values("s", {2, 8}, 3e4);
  const ModulatedConv2dOptions o{.padding = {1, 1, 1, 1}};
  const auto want = modulated_conv2d(x, w, s, {}, o).to_vector<double>();
  const auto got = modulated_conv2d(view::to(x, DType::f16), w, s, {}, o).to_vector<double>();
  for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 0.02) << i;
}

}  // namespace
}  // namespace tessera

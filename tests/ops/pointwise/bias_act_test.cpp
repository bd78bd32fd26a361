#include "ops/pointwise/bias_act.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "autograd/engine.h"
#include "tensor/view.h"

namespace tessera {
namespace {

std::vector<double> gradient(const std::vector<float>& values, const BiasActOptions& o) {
  Tensor x = from_vector(values).set_requires_grad(true);
  return grad({bias_act(x, {}, o)}, {x}, {ones_like(x)})[0].to_vector<double>();
}

// Values that the original computes, from its specification.
TEST(BiasAct, DefaultGains) {
  const Tensor x = from_vector(std::vector<float>{-2, -0.5f, 0, 0.5f, 2});
  const std::pair<Act, std::vector<double>> rows[] = {
      {Act::lrelu, {-0.565685, -0.141421, 0, 0.707107, 2.828427}},
      {Act::swish, {-0.337157, -0.266962, 0, 0.440145, 2.49127}},
      {Act::selu, {-1.520166, -0.691758, 0, 0.525350, 2.101402}},
      {Act::softplus, {0.126928, 0.474077, 0.693147, 0.974077, 2.126928}}};
  for (const auto& [act, want] : rows) {
    const std::vector<double> got = bias_act(x, {}, {.act = act}).to_vector<double>();
    for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-6) << i;
  }
}

TEST(BiasAct, ClampStopsTheGradientUnlessLinear) {
  const std::vector<float> x{-2, -1, 0.5f, 1, 2};  // the bounds themselves are cut off
  EXPECT_EQ(gradient(x, {.act = Act::linear, .gain = 3.0, .clamp = 3.0}),
            (std::vector<double>{3, 3, 3, 3, 3}));
  EXPECT_EQ(gradient(x, {.act = Act::lrelu, .alpha = 0.5, .gain = 2.0, .clamp = 2.0}),
            (std::vector<double>{0, 1, 2, 0, 0}));
  EXPECT_EQ(gradient(x, {.act = Act::relu, .gain = 1.0, .clamp = 2.0}),
            (std::vector<double>{0, 0, 1, 1, 0}));
}

TEST(BiasAct, NanAndInfinity) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  for (Act act : {Act::linear, Act::relu, Act::lrelu, Act::tanh, Act::sigmoid, Act::elu, Act::selu,
                  Act::softplus, Act::swish})
    EXPECT_TRUE(std::isnan(
        bias_act(from_vector(std::vector<float>{nan}), {}, {.act = act, .clamp = 2.0}).item()));
  const Tensor x = from_vector(std::vector<float>{-inf, inf});
  EXPECT_EQ(bias_act(x, {}, {.act = Act::relu}).to_vector<double>(),
            (std::vector<double>{0, double{inf}}));
  EXPECT_EQ(bias_act(x, {}, {.act = Act::lrelu, .clamp = 256.0}).to_vector<double>(),
            (std::vector<double>{-256, 256}));
}

TEST(BiasAct, HalfTypesAreComputedInFloat) {
  const Tensor x = from_vector(std::vector<float>{-1.5f, 0.3f, 2.7f, 90.0f}, {2, 2});
  const Tensor b = from_vector(std::vector<float>{0.1f, -0.2f});
  for (DType half : {DType::f16, DType::bf16})
    for (Act act : {Act::lrelu, Act::swish, Act::softplus}) {
      const Tensor xh = view::to(x, half), bh = view::to(b, half);
      const Tensor want =
          bias_act(view::to(xh, DType::f32), view::to(bh, DType::f32), {.act = act});
      EXPECT_EQ(bias_act(xh, bh, {.act = act}).to_vector<float>(),
                view::to(want, half).to_vector<float>());
    }
}

}  // namespace
}  // namespace tessera

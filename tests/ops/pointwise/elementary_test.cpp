// The float polynomials against float64 over all magnitudes, and the special values of the
// operators built on them.

#include "ops/pointwise/elementary.h"

#include <gtest/gtest.h>

#include <limits>

#include "autograd/engine.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/exponential.h"
#include "ops/pointwise/extrema.h"
#include "ops/pointwise/gelu.h"
#include "ops/pointwise/logistic.h"
#include "ops/pointwise/power.h"
#include "ops/pointwise/relu.h"
#include "ops/pointwise/rounding.h"
#include "ops/pointwise/swish.h"
#include "ops/pointwise/trigonometric.h"
#include "ops/reduce/sum.h"
#include "tensor/view.h"

namespace tessera {
namespace {

const float kInf = std::numeric_limits<float>::infinity();
const float kNan = std::numeric_limits<float>::quiet_NaN();

// Distance in units of the last float place of `want`.
double ulps(float got, double want) {
  if (std::isnan(want)) return std::isnan(got) ? 0 : 1e9;
  const float rounded = static_cast<float>(want);
  if (std::isinf(rounded) || std::isinf(got))
    return got == rounded || std::abs(want) > 3.4028235e38 ? 0 : 1e9;
  int exponent;
  std::frexp(want, &exponent);
  return std::abs(got - want) / std::ldexp(1.0, std::max(exponent - 24, -149));
}

template <class F, class Reference>
void expect_accurate(F f, Reference reference, double bound, float limit = kInf) {
  double worst = 0;
  float worst_at = 0;
  // A step coprime to 2^32 visits every exponent and sign with scattered mantissas.
  for (uint64_t u = 0; u < (uint64_t{1} << 32); u += 9973) {
    const float x = std::bit_cast<float>(static_cast<uint32_t>(u));
    if (std::abs(x) > limit) continue;
    const double e = ulps(f(x), reference(static_cast<double>(x)));
    if (!(e <= worst)) worst = e, worst_at = x;
  }
  for (float x : {0.0f, -0.0f, 1.0f, -1.0f, kInf, -kInf, kNan, 1e-45f, -1e-45f, 3.4e38f, -3.4e38f,
                  88.7228f, 88.73f, -87.4f, -103.9f, -104.5f}) {
    if (std::abs(x) > limit) continue;
    const double e = ulps(f(x), reference(static_cast<double>(x)));
    if (!(e <= worst)) worst = e, worst_at = x;
  }
  EXPECT_LE(worst, bound) << "at " << worst_at << ": " << f(worst_at) << ", expected "
                          << reference(static_cast<double>(worst_at));
}

TEST(Elementary, FloatErrorsInUlp) {
  const auto wrap = [](double (*f)(double)) { return f; };
  expect_accurate([](float x) { return math::exp(x); }, wrap(std::exp), 1.6);
  expect_accurate([](float x) { return math::expm1(x); }, wrap(std::expm1), 1.6);
  expect_accurate([](float x) { return math::log(x); }, wrap(std::log), 1.0);
  expect_accurate([](float x) { return math::log1p(x); }, wrap(std::log1p), 1.6);
  expect_accurate([](float x) { return math::tanh(x); }, wrap(std::tanh), 2.5);
  expect_accurate([](float x) { return math::erf(x); }, wrap(std::erf), 2.5);
  expect_accurate([](float x) { return math::sin(x); }, wrap(std::sin), 1.6, math::kSinCosLimit);
  expect_accurate([](float x) { return math::cos(x); }, wrap(std::cos), 1.6, math::kSinCosLimit);
  expect_accurate([](float x) { return math::sigmoid(x); },
                  [](double v) { return 1 / (1 + std::exp(-v)); }, 2.5);
  expect_accurate([](float x) { return math::softplus(x); },
                  [](double v) { return std::max(v, 0.0) + std::log1p(std::exp(-std::abs(v))); },
                  2.5);
}

TEST(Elementary, PowErrorsInUlp) {
  for (float y : {2.5f, -1.5f, 0.333f, 7.0f, -3.0f, 1.0001f, 100.0f, -77.7f, 1e-3f, 0.5f, -1.0f,
                  16777217.0f, 3e7f})
    expect_accurate([y](float x) { return math::pow(x, y); },
                    [y](double v) { return std::pow(v, static_cast<double>(y)); }, 1.6);
  // Results of all magnitudes, from bases of all magnitudes: large exponents bring errors forward.
  double worst = 0;
  for (uint64_t u = 1; u < 0x7F800000u; u += 4999) {
    const float x = std::bit_cast<float>(static_cast<uint32_t>(u));
    if (x == 1.0f) continue;
    const double log2 = std::log2(static_cast<double>(x));
    const float y = static_cast<float>((static_cast<double>(u % 3201) * 0.1 - 160) / log2);
    worst = std::max(worst, ulps(math::pow(x, y), std::pow(static_cast<double>(x), double{y})));
  }
  EXPECT_LE(worst, 2.5);
}

TEST(Elementary, PowHasTheLibrarysSpecialCases) {
  const float values[] = {0.0f,  -0.0f,  1.0f,    -1.0f,       2.0f,         -2.0f,
                          0.5f,  -0.5f,  kInf,    -kInf,       kNan,         3.0f,
                          -3.0f, 1e-45f, -1e-45f, 3.4e38f,     -3.4e38f,     1e30f,
                          2.5f,  -2.5f,  1e-20f,  16777215.0f, -16777215.0f, 16777216.0f};
  for (float x : values)
    for (float y : values) {
      const float got = math::pow(x, y), want = std::pow(x, y);
      if (!std::isnan(want)) {
        EXPECT_EQ(std::signbit(got), std::signbit(want)) << x << " ^ " << y;
      }
      EXPECT_LE(ulps(got, std::pow(static_cast<double>(x), static_cast<double>(y))), 1.6)
          << x << " ^ " << y << ": " << got << ", expected " << want;
    }
}

std::vector<float> run(Tensor (*op)(const Tensor&), const std::vector<float>& x) {
  return op(from_vector(x)).to_vector<float>();
}

TEST(Pointwise, SignedZeros) {
  for (Tensor (*op)(const Tensor&) : {tanh, sin, expm1, log1p, erf}) {
    const std::vector<float> y = run(op, {-0.0f, 0.0f});
    EXPECT_TRUE(std::signbit(y[0]) && y[0] == 0);
    EXPECT_TRUE(!std::signbit(y[1]) && y[1] == 0);
  }
}

TEST(Pointwise, NanReachesTheResult) {
  Tensor (*const ops[])(const Tensor&) = {exp,  log,   tanh,      sigmoid,     silu,       mish,
                                          relu, relu6, hardswish, hardsigmoid, abs,        sign,
                                          sqrt, rsqrt, sin,       cos,         log_sigmoid};
  for (auto op : ops) EXPECT_TRUE(std::isnan(run(op, {kNan})[0]));
  const Tensor n = from_vector(std::vector<float>{kNan}), one = ones({1});
  EXPECT_TRUE(std::isnan(maximum(n, one).item()));
  EXPECT_TRUE(std::isnan(maximum(one, n).item()));
  EXPECT_TRUE(std::isnan(minimum(n, one).item()));
  EXPECT_TRUE(std::isnan(minimum(one, n).item()));
  EXPECT_TRUE(std::isnan(clamp(n, 0, 1).item()));
}

TEST(Pointwise, ExtremesStayFinite) {
  const std::vector<float> x{-1e30f, -200, 200, 1e30f};
  for (Tensor (*op)(const Tensor&) : {sigmoid, silu, mish, tanh})
    for (float v : run(op, x)) EXPECT_TRUE(std::isfinite(v));
  EXPECT_EQ(run(log_sigmoid, {-1e30f})[0], -1e30f);
}

TEST(Pointwise, SinAndCosOfHugeArguments) {
  const std::vector<float> x{1e6f, -3e7f, 1e20f, 3.4e38f, 0.5f};
  const std::vector<float> s = run(sin, x), c = run(cos, x);
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_LE(ulps(s[i], std::sin(static_cast<double>(x[i]))), 1.6) << x[i];
    EXPECT_LE(ulps(c[i], std::cos(static_cast<double>(x[i]))), 1.6) << x[i];
  }
}

TEST(Pointwise, SinAndCosOfHugeHalfTypes) {
  const Tensor x = view::to(from_vector(std::vector<double>{1e20, -3e7, 1e38}), DType::bf16);
  const std::vector<double> wide = x.to_vector<double>();
  for (size_t i = 0; i < wide.size(); ++i) {
    EXPECT_NEAR(sin(x).to_vector<double>()[i], std::sin(wide[i]), 4e-3);
    EXPECT_NEAR(cos(x).to_vector<double>()[i], std::cos(wide[i]), 4e-3);
  }
}

TEST(Pointwise, RoundsHalvesToEven) {
  const std::vector<float> want{-2, -2, -0.0f, 0, 2, 2, 4};
  EXPECT_EQ(run(round, {-2.5f, -1.5f, -0.5f, 0.5f, 1.5f, 2.5f, 3.5f}), want);
}

std::vector<double> gradient(Tensor (*op)(const Tensor&), const std::vector<double>& at) {
  Tensor x = from_vector(at).set_requires_grad(true);
  return grad({sum(op(x))}, {x})[0].to_vector<double>();
}

// d hardswish / dx.
Tensor hardswish_slope(const Tensor& x) {
  return grad({sum(hardswish(x))}, {x}, {}, {.create_graph = true})[0];
}

TEST(Pointwise, GradientsAtKinks) {
  using V = std::vector<double>;
  EXPECT_EQ(gradient(relu, {-1, 0, 1}), (V{0, 0, 1}));
  EXPECT_EQ(gradient(relu6, {0, 3, 6, 7}), (V{0, 1, 0, 0}));
  EXPECT_EQ(gradient(abs, {-1, 0, 1}), (V{-1, 0, 1}));
  EXPECT_EQ(gradient([](const Tensor& x) { return clamp(x, -1, 1); }, {-2, -1, 0, 1, 2}),
            (V{0, 1, 1, 1, 0}));
  EXPECT_EQ(gradient(hardswish, {-4, -3, 0, 3, 4}), (V{0, 0, 0.5, 1, 1}));
  EXPECT_EQ(gradient(hardsigmoid, {-3, 3}), (V{0, 0}));
  EXPECT_EQ(gradient(hardswish_slope, {-3, 3}), (V{0, 0}));
  const double inf = std::numeric_limits<double>::infinity();
  Tensor far = from_vector(V{inf, -1}), slope = from_vector(V{0.5}).set_requires_grad(true);
  EXPECT_EQ(grad({sum(prelu(far, slope))}, {slope})[0].to_vector<double>(), (V{-1}));
  EXPECT_EQ(gradient([](const Tensor& x) { return maximum(x, zeros_like(x)); }, {-1, 0, 1}),
            (V{0, 0.5, 1}));
  EXPECT_EQ(gradient(floor, {0.5}), (V{0}));
  EXPECT_EQ(gradient([](const Tensor& x) { return pow(x, 0.0); }, {0, 2}), (V{0, 0}));
  const Tensor base = zeros({2}, DType::f64);
  Tensor p = from_vector(V{0, 2}).set_requires_grad(true);
  EXPECT_EQ(grad({sum(pow(base, p))}, {p})[0].to_vector<double>(), (V{0, 0}));
}

TEST(Pointwise, HalfTypesComputeInFloat) {
  for (DType dtype : {DType::f16, DType::bf16}) {
    const Tensor x = view::to(from_vector(std::vector<float>{-1.5f, 0.25f, 2}), dtype);
    const Tensor y = sigmoid(x);
    EXPECT_EQ(y.dtype(), dtype);
    EXPECT_EQ(y.to_vector<float>(),
              view::to(sigmoid(view::to(x, DType::f32)), dtype).to_vector<float>());
  }
}

TEST(Pointwise, ReluKeepsNoInput) {
  Tensor x = ones({1024}).set_requires_grad(true);
  Tensor h = x * 2.0;
  const std::weak_ptr<Storage> input = h.impl_ptr()->storage;
  const Tensor y = relu(h);
  h = Tensor();
  EXPECT_TRUE(input.expired());
}

}  // namespace
}  // namespace tessera

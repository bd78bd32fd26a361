// Random tensors: the documented mapping, statistics, determinism.

#include "ops/random/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/engine.h"
#include "ops/random/dropout.h"
#include "ops/random/random_math.h"
#include "tensor/parallel.h"
#include "tensor/view.h"

namespace tessera {
namespace {

uint32_t word(const Generator::State& s, uint64_t i) {
  return Philox::block(s.seed, s.block + i / 4, s.stream).v[i % 4];
}

struct Moments {
  double mean = 0, variance = 0;
};
Moments moments(const Tensor& x) {
  const std::vector<double> v = x.to_vector<double>();
  Moments m;
  for (double e : v) m.mean += e / double(v.size());
  for (double e : v) m.variance += (e - m.mean) * (e - m.mean) / double(v.size());
  return m;
}

TEST(Random, MappingOfWordsIsAsDocumented) {
  Generator g(42, 7);
  g.uniform();  // an odd place to start
  Generator::State s = g.state();
  const std::vector<float> u = rand({11}, g).to_vector<float>();
  for (uint64_t i = 0; i < 11; ++i) EXPECT_EQ(u[i], Philox::unit_float(word(s, i)));
  EXPECT_EQ(g.state().block, s.block + 3);

  s = g.state();
  const std::vector<double> d = rand({3}, g, {.dtype = DType::f64}).to_vector<double>();
  for (uint64_t i = 0; i < 3; ++i)
    EXPECT_EQ(d[i], Philox::unit_double(word(s, 2 * i), word(s, 2 * i + 1)));
  EXPECT_EQ(g.state().block, s.block + 2);

  s = g.state();
  const std::vector<float> n = randn({5}, g).to_vector<float>();
  for (uint64_t i = 0; i < 5; ++i) {
    const double a = (word(s, i / 2 * 2) + 1.0) / 4294967296.0;
    const double v = word(s, i / 2 * 2 + 1) / 4294967296.0;
    const double angle = 2 * M_PI * v, r = std::sqrt(-2 * std::log(a));
    EXPECT_NEAR(n[i], r * (i % 2 ? std::sin(angle) : std::cos(angle)), 1e-6);
  }

  s = g.state();
  const std::vector<int64_t> k = randint(-3, 7, {5}, g).to_vector<int64_t>();
  for (uint64_t i = 0; i < 5; ++i) {
    const uint64_t high = uint64_t{word(s, 2 * i)} * 10;
    const uint64_t low = uint64_t{word(s, 2 * i + 1)} * 10;
    EXPECT_EQ(k[i], -3 + static_cast<int64_t>((high + (low >> 32)) >> 32));
  }

  s = g.state();
  const std::vector<float> b = bernoulli(0.3, {9}, g).to_vector<float>();
  for (uint64_t i = 0; i < 9; ++i)
    EXPECT_EQ(b[i], Philox::unit_float(word(s, i)) < 0.3 ? 1.0f : 0.0f);
}

TEST(Random, ManyBlocksAreThoseOfTheFormula) {
  Generator g;
  g.set_state({0x0123456789ABCDEFu, 0xFEDCBA9876543210u, 0xFFFFFFFFu - 100});  // carries over 2^32
  const Generator::State s = g.state();
  const std::vector<float> u = rand({1500}, g).to_vector<float>();
  for (uint64_t i = 0; i < 1500; ++i) ASSERT_EQ(u[i], Philox::unit_float(word(s, i))) << i;
}

TEST(Random, SameForAnyNumberOfThreads) {
  const auto draw = [] {
    Generator g(3);
    std::vector<double> all;
    for (const Tensor& t :
         {randn({50001}, g), rand({30001}, g, {.dtype = DType::f64}), randint(0, 1000, {20001}, g),
          randperm(5001, g), dropout(ones({40001}), 0.5, true, g)}) {
      const std::vector<double> v = t.to_vector<double>();
      all.insert(all.end(), v.begin(), v.end());
    }
    return all;
  };
  set_num_threads(1);
  const std::vector<double> one = draw();
  set_num_threads(3);
  const std::vector<double> three = draw();
  set_num_threads(0);
  EXPECT_EQ(one, three);
}

TEST(Random, InPlaceFormsDrawTheSame) {
  for (DType dtype : {DType::f32, DType::f64}) {
    Generator a(4), b(4);
    const Tensor dense = empty({5, 7}, dtype), base = zeros({7, 5}, dtype);
    for (Tensor y : {dense, view::permute(base, {1, 0})}) {
      const uint32_t version = y.version();
      const auto expect_same = [&](const Tensor& want) {
        EXPECT_EQ(y.to_vector<double>(), want.to_vector<double>());
        EXPECT_EQ(a.state(), b.state());
      };
      rand_(y, a, {.lo = -1, .hi = 3});
      expect_same(rand({5, 7}, b, {.lo = -1, .hi = 3, .dtype = dtype}));
      randn_(y, a, {.mean = 1, .stddev = 2});
      expect_same(randn({5, 7}, b, {.mean = 1, .stddev = 2, .dtype = dtype}));
      trunc_normal_(y, a, 0, 1, -1, 2);
      expect_same(trunc_normal({5, 7}, b, 0, 1, -1, 2, dtype));
      EXPECT_GE(y.version(), version + 3);
    }
  }
  Generator g(1);
  Tensor integers = zeros({2}, DType::i64), x = zeros({2});
  EXPECT_THROW(rand_(integers, g), DTypeError);
  EXPECT_THROW(randn_(x, g, {.stddev = -1}), ValueError);
  EXPECT_THROW(trunc_normal_(x, g, 0, 0), ValueError);
}

TEST(Random, StatisticsOfUniform) {
  Generator g(1);
  for (DType dtype : {DType::f32, DType::f64}) {
    const Tensor x = rand({200000}, g, {.lo = -2, .hi = 4, .dtype = dtype});
    const Moments m = moments(x);
    EXPECT_NEAR(m.mean, 1, 0.02);
    EXPECT_NEAR(m.variance, 3, 0.03);
    const std::vector<double> v = x.to_vector<double>();
    EXPECT_GE(*std::min_element(v.begin(), v.end()), -2);
    EXPECT_LT(*std::max_element(v.begin(), v.end()), 4);
  }
  // A range of one unit in the last place: rounding must not reach hi.
  const double hi = std::nextafter(16777216.0f, 0.0f);
  for (float v : rand({1000}, g, {.lo = hi - 1, .hi = hi}).to_vector<float>()) EXPECT_LT(v, hi);
}

TEST(Random, StatisticsOfNormal) {
  Generator g(2);
  for (DType dtype : {DType::f32, DType::f64}) {
    const Tensor x = randn({200001}, g, {.mean = 3, .stddev = 2, .dtype = dtype});
    const Moments m = moments(x);
    EXPECT_NEAR(m.mean, 3, 0.02);
    EXPECT_NEAR(m.variance, 4, 0.06);
    double fourth = 0;
    int64_t beyond = 0;
    for (double v : x.to_vector<double>()) {
      fourth += std::pow((v - 3) / 2, 4) / 200001;
      beyond += std::abs(v - 3) > 2 * 1.959964;
    }
    EXPECT_NEAR(fourth, 3, 0.1);
    EXPECT_NEAR(double(beyond) / 200001, 0.05, 0.002);
  }
  EXPECT_NEAR(moments(randn({10}, g, {.mean = 1, .stddev = 0})).variance, 0, 1e-12);
}

// Distribution function at a few points, against the normal one cut to the interval.
TEST(Random, TruncatedNormalFollowsItsDistribution) {
  Generator g(5);
  const double mean = 0.5, sd = 1.5, lo = -1, hi = 4;
  const auto below = [&](double v) { return 0.5 * std::erfc(-(v - mean) / (sd * std::sqrt(2.0))); };
  for (DType dtype : {DType::f32, DType::f64}) {
    const std::vector<double> v =
        trunc_normal({100000}, g, mean, sd, lo, hi, dtype).to_vector<double>();
    EXPECT_GE(*std::min_element(v.begin(), v.end()), lo);
    EXPECT_LE(*std::max_element(v.begin(), v.end()), hi);
    for (double cut : {-0.5, 0.0, 1.0, 2.5, 3.5}) {
      const double share =
          double(std::count_if(v.begin(), v.end(), [=](double e) { return e < cut; })) / 1e5;
      EXPECT_NEAR(share, (below(cut) - below(lo)) / (below(hi) - below(lo)), 0.005) << cut;
    }
  }
  for (double v : trunc_normal({100}, g, 0, 1, 7, 8, DType::f64).to_vector<double>()) {
    EXPECT_GE(v, 7);
    EXPECT_LE(v, 8);
  }
}

TEST(Random, IntegersCoverTheirRange) {
  Generator g(6);
  std::vector<int> count(7, 0);
  for (int64_t v : randint(-2, 5, {70000}, g).to_vector<int64_t>()) {
    ASSERT_GE(v, -2);
    ASSERT_LT(v, 5);
    ++count[static_cast<size_t>(v + 2)];
  }
  for (int c : count) EXPECT_NEAR(c, 10000, 500);
  const int64_t lowest = std::numeric_limits<int64_t>::min();
  const int64_t highest = std::numeric_limits<int64_t>::max();
  const std::vector<int64_t> wide = randint(lowest, highest, {100}, g).to_vector<int64_t>();
  EXPECT_GT(std::count_if(wide.begin(), wide.end(), [](int64_t v) { return v < 0; }), 20);
}

TEST(Random, Bernoulli) {
  Generator g(8);
  EXPECT_NEAR(moments(bernoulli(0.2, {100000}, g)).mean, 0.2, 0.006);
  EXPECT_EQ(moments(bernoulli(0, {1000}, g)).mean, 0);
  EXPECT_NEAR(moments(bernoulli(1, {1000}, g, DType::boolean)).mean, 1, 1e-12);
  const Tensor p = from_vector<double>({0, 1, NAN, 2});
  EXPECT_EQ(bernoulli(p, g).to_vector<double>(), (std::vector<double>{0, 1, 0, 1}));
}

TEST(Random, PermutationsAreComplete) {
  Generator g(9);
  const std::vector<int64_t> first = randperm(1000, g).to_vector<int64_t>();
  const std::vector<int64_t> second = randperm(1000, g).to_vector<int64_t>();
  EXPECT_NE(first, second);
  std::vector<int64_t> sorted = first, all(1000);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_NE(first, all);
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, all);
  EXPECT_EQ(randperm(0, g).shape(), (Shape{0}));
}

TEST(Random, RejectsWrongArguments) {
  Generator g;
  EXPECT_THROW(rand({2}, g, {.lo = 1, .hi = 1}), ValueError);
  EXPECT_THROW(rand({2}, g, {.dtype = DType::i64}), DTypeError);
  EXPECT_THROW(randn({2}, g, {.stddev = -1}), ValueError);
  EXPECT_THROW(trunc_normal({2}, g, 0, 1, 2, 1), ValueError);
  EXPECT_THROW(randint(3, 3, {2}, g), ValueError);
  EXPECT_THROW(bernoulli(1.5, {2}, g), ValueError);
  EXPECT_THROW(randperm(-1, g), ValueError);
  EXPECT_THROW(dropout(zeros({2}), -0.1, true, g), ValueError);
  EXPECT_THROW(drop_path(zeros({}), 0.1, true, g), ShapeError);
}

TEST(Dropout, KeepsTheMeanAndScales) {
  Generator g(11);
  const Tensor y = dropout(ones({100000}), 0.25, true, g);
  for (float v : y.to_vector<float>()) ASSERT_TRUE(v == 0 || v == 1 / 0.75f) << v;
  EXPECT_NEAR(moments(y).mean, 1, 0.01);
  // The mask does not depend on the dtype.
  Generator a(12), b(12);
  EXPECT_EQ(dropout(ones({100}), 0.5, true, a).to_vector<double>(),
            dropout(ones({100}, DType::f64), 0.5, true, b).to_vector<double>());
}

TEST(Dropout, GradientUsesTheSameMask) {
  Generator g(13);
  const std::vector<double> nan_free(60, 2.0);
  Tensor x = from_vector(nan_free, {3, 4, 5});
  x.set_requires_grad(true);
  Tensor u = ones_like(x);
  u.set_requires_grad(true);
  const Tensor y = dropout(x, 0.5, true, g);
  const Tensor gx = grad({y}, {x}, {u}, {.create_graph = true})[0];
  const std::vector<double> forward = y.to_vector<double>(), backward = gx.to_vector<double>();
  for (size_t i = 0; i < forward.size(); ++i) EXPECT_EQ(forward[i], 2 * backward[i]);
  const Tensor gu = grad({gx}, {u}, {ones_like(gx)})[0];
  EXPECT_EQ(gu.to_vector<double>(), backward);
}

TEST(Dropout, ExtremesAndEvaluation) {
  Generator g(14);
  const Generator::State before = g.state();
  const Tensor x = full({8}, NAN);
  EXPECT_TRUE(dropout(x, 0.5, false, g).shares_storage(x));
  EXPECT_TRUE(dropout(x, 0, true, g).shares_storage(x));
  EXPECT_EQ(g.state(), before);
  for (float v : dropout(x, 1, true, g).to_vector<float>()) EXPECT_EQ(v, 0);
}

TEST(DropPath, DropsWholeSamples) {
  Generator g(15);
  const std::vector<float> v = drop_path(ones({4000, 2, 3}), 0.4, true, g).to_vector<float>();
  int64_t kept = 0;
  for (size_t i = 0; i < v.size(); i += 6) {
    for (size_t k = 1; k < 6; ++k) ASSERT_EQ(v[i], v[i + k]);
    ASSERT_TRUE(v[i] == 0 || v[i] == static_cast<float>(1 / (1 - 0.4)));
    kept += v[i] != 0;
  }
  EXPECT_NEAR(double(kept), 2400, 120);
  EXPECT_EQ(drop_path(ones({0, 3}), 0.5, true, g).shape(), (Shape{0, 3}));
}

// erf back again; towards 1 erfc, which keeps its relative precision there.
TEST(TruncNormal, InverseErrorFunction) {
  EXPECT_EQ(math::erfinv(0), 0);
  for (int i = 1; i < 2000; ++i) {
    const double x = i / 2000.0;
    EXPECT_NEAR(std::erf(math::erfinv(x)), x, 2e-16 + 4e-16 * x) << x;
    EXPECT_EQ(math::erfinv(-x), -math::erfinv(x)) << x;
  }
  for (int i = 2; i <= 53; ++i) {
    const double below_one = std::ldexp(1.0, -i);
    const double back = std::erfc(math::erfinv(1 - below_one));
    EXPECT_NEAR(back / below_one, 1, 4e-14) << i;  // its slope grows with the result
  }
  EXPECT_DOUBLE_EQ(math::erfinv(0.5), 0.47693627620446987338);
}

TEST(TruncNormal, CutsFarOutStayInside) {
  struct Cut {
    double lo, hi, want;
  };
  for (const Cut& c : {Cut{10, 11, 10}, Cut{-11, -10, -10}, Cut{-41, -40, -40}})
    for (DType dtype : {DType::f32, DType::f64}) {
      Generator g(1);
      for (double v : trunc_normal({64}, g, 0, 1, c.lo, c.hi, dtype).to_vector<double>())
        ASSERT_EQ(v, c.want);
    }
  Generator g(1);
  for (double v : trunc_normal({64}, g, 0, 1, 6, 1e9, DType::f64).to_vector<double>())
    ASSERT_TRUE(v >= 6 && v < 9) << v;
}

}  // namespace
}  // namespace tessera

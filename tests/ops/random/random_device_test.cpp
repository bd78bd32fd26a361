// Random numbers of a GPU are the CPU's, bit for bit: odd counts, tails, misaligned memory, several
// blocks, all dtypes, and blocks of the generator beyond 32 bits.

#include <limits>

#include "autograd/engine.h"
#include "ops/random/dropout.h"
#include "ops/random/random.h"
#include "tests/ops/device_test.h"

namespace tessera::testing {
namespace {

class RandomDevice : public DeviceTest {};

// The last takes several thread blocks, and each thread more than one group on no machine.
constexpr int64_t kCounts[] = {0, 1, 2, 3, 4, 5, 255, 1027, 5001};
constexpr DType kFloats[] = {DType::f32, DType::f64};

Generator generator(bool far) {
  Generator g(far ? 0xFEDCBA9876543210u : 7, far ? 0x123456789ABCDEFu : 3);
  if (far) {
    Generator::State s = g.state();
    s.block = 0xFFFFFFFFu;  // the second of a call's blocks carries
    g.set_state(s);
  }
  return g;
}

// `draw` of a device makes the same on both and leaves the generator in the same state.
template <class Draw>
void expect_same_draw(const Draw& draw, const std::string& what) {
  for (bool far : {false, true}) {
    Generator here = generator(far), there = generator(far);
    const Tensor want = draw(here, kCpu), got = draw(there, kGpu);
    expect_same_bits(got, want, cat(what, far ? ", far" : ""));
    EXPECT_EQ(here.state(), there.state()) << what;
  }
}

// NaN in elements [1, end).
Tensor with_nan(const Tensor& x, int64_t end) {
  Tensor part = view::slice(x, 0, 1, end);
  fill_(part, NAN);
  return x;
}

TEST_F(RandomDevice, UniformIsTheCpus) {
  for (int64_t n : kCounts)
    for (DType dtype : kFloats)
      for (const auto& [lo, hi] : {std::pair{0.0, 1.0}, {-0.1, 0.7}, {1e6, 1e6 + 0.1}})
        expect_same_draw(
            [&, lo = lo, hi = hi](Generator& g, Device device) {
              return rand({n}, g, {.lo = lo, .hi = hi, .dtype = dtype, .device = device});
            },
            cat("rand ", n, ' ', dtype, ' ', lo));
}

TEST_F(RandomDevice, NormalIsTheCpus) {
  for (int64_t n : kCounts)
    for (DType dtype : kFloats)
      for (const auto& [mean, stddev] : {std::pair{0.0, 1.0}, {0.3, 1.7}})
        expect_same_draw(
            [&, mean = mean, stddev = stddev](Generator& g, Device device) {
              return randn({n}, g,
                           {.mean = mean, .stddev = stddev, .dtype = dtype, .device = device});
            },
            cat("randn ", n, ' ', dtype, ' ', mean));
}

TEST_F(RandomDevice, TruncatedNormalIsTheCpus) {
  for (int64_t n : kCounts)
    for (DType dtype : kFloats)
      for (const auto& [lo, hi] : {std::pair{-2.0, 2.0}, {0.5, 9.0}, {-41.0, -40.0}})
        expect_same_draw(
            [&, lo = lo, hi = hi](Generator& g, Device device) {
              return trunc_normal({n}, g, 0.1, 1.3, lo, hi, dtype, device);
            },
            cat("trunc_normal ", n, ' ', dtype, ' ', lo));
}

TEST_F(RandomDevice, IntegersAndPermutationsAreTheCpus) {
  using Limits = std::numeric_limits<int64_t>;
  for (int64_t n : kCounts) {
    for (const auto& [lo, hi] :
         {std::pair<int64_t, int64_t>{-3, 7}, {Limits::min(), Limits::max()}})
      expect_same_draw([&, lo = lo, hi = hi](
                           Generator& g, Device device) { return randint(lo, hi, {n}, g, device); },
                       cat("randint ", n, ' ', lo));
    expect_same_draw([&](Generator& g, Device device) { return randperm(n, g, device); },
                     cat("randperm ", n));
  }
}

TEST_F(RandomDevice, BernoulliIsTheCpus) {
  for (int64_t n : kCounts) {
    for (DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16, DType::i64, DType::i32,
                        DType::u8, DType::boolean})
      for (double p : {0.0, 0.3, 1.0})
        expect_same_draw(
            [&](Generator& g, Device device) { return bernoulli(p, {n}, g, dtype, device); },
            cat("bernoulli ", n, ' ', dtype, ' ', p));
    for (DType dtype : kFloats) {
      Tensor p = hashed("p", {n}, dtype, -0.2, 1.2);
      if (n > 2) p = with_nan(p, 2);
      expect_same_draw(
          [&](Generator& g, Device device) { return bernoulli(view::to(p, device), g); },
          cat("bernoulli of probabilities ", n, ' ', dtype));
      if (n == 1027)
        expect_same_draw(
            [&](Generator& g, Device device) {
              return bernoulli(device == kGpu ? misaligned(p) : p, g);
            },
            "bernoulli of misaligned probabilities");
    }
  }
}

// Misaligned and strided memory.
TEST_F(RandomDevice, InPlaceFormsAreTheCpus) {
  for (DType dtype : kFloats) {
    Generator a(5), b(5);
    Tensor y = misaligned(1027, dtype), want = empty({1027}, dtype);
    Tensor turned = view::permute(zeros({41, 23}, dtype, kGpu), {1, 0});
    Tensor turned_want = empty({23, 41}, dtype);
    for (int i = 0; i < 2; ++i) {
      Tensor &to = i == 0 ? y : turned, &expected = i == 0 ? want : turned_want;
      rand_(to, a), rand_(expected, b);
      expect_same_bits(to, expected, "rand_");
      randn_(to, a), randn_(expected, b);
      expect_same_bits(to, expected, "randn_");
      trunc_normal_(to, a), trunc_normal_(expected, b);
      expect_same_bits(to, expected, "trunc_normal_");
    }
  }
}

TEST_F(RandomDevice, DropoutIsTheCpus) {
  for (int64_t n : kCounts)
    for (DType dtype : kFloats) {
      Tensor x = hashed("x", {n}, dtype);
      if (n > 4) x = with_nan(x, 4);  // dropped, it must not reach the result
      const auto drop = [&](Generator& g, Device device) {
        return dropout(view::to(x, device), 0.4, true, g);
      };
      expect_same_draw(drop, cat("dropout ", n, ' ', dtype));
      if (n == 1027)
        expect_same_draw(
            [&](Generator& g, Device device) {
              return dropout(device == kGpu ? misaligned(x) : x, 0.4, true, g);
            },
            "dropout, misaligned");
    }
}

// Runs that divide a thread's neighbours, that do not, and that are shorter than them.
TEST_F(RandomDevice, DropPathIsTheCpus) {
  for (const Shape& shape : {Shape{9, 1, 2}, Shape{301, 3}, Shape{7, 4}, Shape{33, 5, 7},
                             Shape{6, 3000}, Shape{3, 1}, Shape{0, 4}})
    for (DType dtype : kFloats) {
      Tensor x = hashed("x", shape, dtype);
      expect_same_draw(
          [&](Generator& g, Device device) { return drop_path(view::to(x, device), 0.5, true, g); },
          cat("drop_path ", shape, ' ', dtype));
    }
}

TEST_F(RandomDevice, GradientDrawsTheSameMask) {
  Tensor x = on_gpu(hashed("x", {1001}, DType::f32));
  x.set_requires_grad(true);
  Generator g(2);
  const Tensor y = dropout(x, 0.5, true, g);
  const Tensor gx = grad({y}, {x}, {x.detach()}, {})[0];
  expect_same_bits(gx, y.detach(), "gradient along x");
}

}  // namespace
}  // namespace tessera::testing

// cuda/reduce.cuh: sums and extremes over a warp and over a block, in every lane.

#include "cuda/reduce.cuh"

#include <gtest/gtest.h>

#include <limits>

#include "cuda/launch.h"
#include "tests/cuda/device_buffer.h"

namespace tessera::cuda::testing {
namespace {

struct Moments {
  double sum, most;
  int64_t count;
};
struct Join {
  __device__ Moments operator()(const Moments& a, const Moments& b) const {
    return {a.sum + b.sum, a.most < b.most ? b.most : a.most, a.count + b.count};
  }
};

__global__ void by_warp(double* sums, float* largest, const double* x) {
  const unsigned t = threadIdx.x;
  sums[t] = warp_reduce(x[t], SumOp{});
  largest[t] = warp_reduce(static_cast<float>(x[t]), MaxOp{});
}
TEST(Reduce, OverAWarpInEveryLane) {
  std::vector<double> x(96);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i * i % 37);
  const DeviceBuffer<double> on_device(x), sums(96);
  const DeviceBuffer<float> largest(96);
  in_every_order([&] {
    launch(by_warp, {1, 96}, sums.data(), largest.data(), on_device.data());
    const std::vector<double> got = sums.values();
    const std::vector<float> most = largest.values();
    for (size_t i = 0; i < 96; ++i) {
      double sum = 0, maximum = 0;
      for (size_t k = i / 32 * 32; k < i / 32 * 32 + 32; ++k) {
        sum += x[k];
        maximum = std::max(maximum, x[k]);
      }
      EXPECT_EQ(got[i], sum);  // whole numbers: no rounding
      EXPECT_EQ(most[i], static_cast<float>(maximum));
    }
  });
}

// Twice with the same scratch memory, which is free again when block_reduce returns.
__global__ void by_block(Moments* out, float* smallest, const double* x, int n) {
  TESSERA_SHARED(Moments, scratch, [32]);
  TESSERA_SHARED(float, narrow, [32]);
  Moments m{0, -1e300, 0};
  float least = std::numeric_limits<float>::infinity();
  for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) {
    m = Join{}(m, {x[i], x[i], 1});
    least = static_cast<float>(x[i]) < least ? static_cast<float>(x[i]) : least;
  }
  out[threadIdx.x] = block_reduce(m, Join{}, scratch);
  const float first = block_reduce(least, MinOp{}, narrow);
  smallest[threadIdx.x] = block_reduce(first + static_cast<float>(threadIdx.x), MinOp{}, narrow);
}
TEST(Reduce, OverABlockInEveryThread) {
  std::vector<double> x(5000);
  double sum = 0, most = -1e300, least = 1e300;
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<double>(i * 7919 % 10007) - 5000;
    sum += x[i];
    most = std::max(most, x[i]);
    least = std::min(least, x[i]);
  }
  const DeviceBuffer<double> on_device(x);
  const DeviceBuffer<Moments> out(1024);
  const DeviceBuffer<float> smallest(1024);
  in_every_order([&] {
    for (const unsigned threads : {32u, 64u, 256u, 1024u}) {
      launch(by_block, {1, threads}, out.data(), smallest.data(), on_device.data(), 5000);
      std::vector<Moments> got(threads);
      std::vector<float> low(threads);
      emulator::copy_out(got.data(), out.data(), threads * sizeof(Moments));
      emulator::copy_out(low.data(), smallest.data(), threads * sizeof(float));
      for (unsigned t = 0; t < threads; ++t) {
        EXPECT_EQ(got[t].sum, sum);
        EXPECT_EQ(got[t].most, most);
        EXPECT_EQ(got[t].count, 5000);
        EXPECT_EQ(low[t], static_cast<float>(least));
      }
    }
  });
}

__global__ void uneven(float* y, const float* x) {
  TESSERA_SHARED(float, scratch, [32]);
  y[threadIdx.x] = block_reduce(x[threadIdx.x], SumOp{}, scratch);
  y[blockDim.x + threadIdx.x] = block_reduce(x[threadIdx.x], MaxOp{}, scratch);
}
TEST(Reduce, SameBitsInEveryOrderAndThread) {
  std::vector<float> x(256);
  for (size_t i = 0; i < x.size(); ++i) x[i] = 1.0f / static_cast<float>(i + 3);
  const DeviceBuffer<float> on_device(x), y(512);
  launch(uneven, {1, 256}, y.data(), on_device.data());
  const std::vector<float> want = y.values();
  EXPECT_EQ(std::vector<float>(want.begin(), want.begin() + 256), std::vector<float>(256, want[0]));
  in_every_order([&] {
    launch(uneven, {1, 256}, y.data(), on_device.data());
    EXPECT_EQ(y.values(), want);
  });
}

TEST(Reduce, NanWins) {
  std::vector<float> x(64, 1);
  x[40] = std::numeric_limits<float>::quiet_NaN();
  const DeviceBuffer<float> on_device(x), y(128);
  launch(uneven, {1, 64}, y.data(), on_device.data());
  for (const float v : y.values()) EXPECT_TRUE(std::isnan(v));
}

}  // namespace
}  // namespace tessera::cuda::testing

// Warp operations: every kind of shuffle with every width, votes, masks.

#include <gtest/gtest.h>

#include "cuda/launch.h"
#include "tests/cuda/device_buffer.h"

namespace tessera::cuda::testing {
namespace {

enum class Kind { index, up, down, exclusive_or };

__global__ void shuffle_all(int* y, Kind kind, int source, int width) {
  const int lane = static_cast<int>(threadIdx.x % 32), value = 100 + static_cast<int>(threadIdx.x);
  // By lane for the index, as a gather; the same for all otherwise.
  int got = 0;
  if (kind == Kind::index) got = __shfl_sync(~0u, value, lane * 5 + source, width);
  if (kind == Kind::up) got = __shfl_up_sync(~0u, value, source, width);
  if (kind == Kind::down) got = __shfl_down_sync(~0u, value, source, width);
  if (kind == Kind::exclusive_or) got = __shfl_xor_sync(~0u, value, source, width);
  y[threadIdx.x] = got;
}

// As the programming guide words it.
int source_of(Kind kind, int lane, int source, int width) {
  const int first = lane / width * width, within = lane % width;
  if (kind == Kind::index) return first + (lane * 5 + source) % width;
  if (kind == Kind::up) return within - source >= 0 ? lane - source : lane;
  if (kind == Kind::down) return within + source < width ? lane + source : lane;
  const int partner = lane ^ source;
  return partner < first + width ? partner : lane;
}

TEST(Warp, ShufflesOfEveryWidth) {
  const DeviceBuffer<int> y(64);
  in_every_order([&] {
    for (const Kind kind : {Kind::index, Kind::up, Kind::down, Kind::exclusive_or})
      for (int width = 1; width <= 32; width *= 2)
        for (int source = 0; source < 32; source += 3) {
          launch(shuffle_all, {1, 64}, y.data(), kind, source, width);
          const std::vector<int> got = y.values();
          for (int i = 0; i < 64; ++i)
            ASSERT_EQ(got[static_cast<size_t>(i)],
                      100 + i / 32 * 32 + source_of(kind, i % 32, source, width))
                << "kind " << static_cast<int>(kind) << ", lane " << i << ", source " << source
                << ", width " << width;
        }
  });
}

struct Triple {
  double a;
  float b;
  unsigned char c;
};
__global__ void shuffle_struct(double* y) {
  const auto t = static_cast<double>(threadIdx.x);
  const Triple mine{t, static_cast<float>(2 * t), static_cast<unsigned char>(threadIdx.x)};
  const Triple got = __shfl_xor_sync(~0u, mine, 9);
  y[threadIdx.x] = got.a + got.b + got.c;
}
TEST(Warp, ShufflesAnyType) {
  const DeviceBuffer<double> y(32);
  launch(shuffle_struct, {1, 32}, y.data());
  const std::vector<double> got = y.values();
  for (int i = 0; i < 32; ++i) EXPECT_EQ(got[static_cast<size_t>(i)], 4.0 * (i ^ 9));
}

__global__ void votes(unsigned* y) {
  const unsigned t = threadIdx.x;
  y[t] = __ballot_sync(~0u, t % 3 == 0);
  y[32 + t] = static_cast<unsigned>(__any_sync(~0u, t == 31)) +
              10u * static_cast<unsigned>(__any_sync(~0u, t == 32));
  y[64 + t] = static_cast<unsigned>(__all_sync(~0u, t < 32)) +
              10u * static_cast<unsigned>(__all_sync(~0u, t > 0));
  y[96 + t] = __match_any_sync(~0u, t % 4);
}
TEST(Warp, Votes) {
  const DeviceBuffer<unsigned> y(128);
  in_every_order([&] {
    launch(votes, {1, 32}, y.data());
    const std::vector<unsigned> got = y.values();
    for (unsigned t = 0; t < 32; ++t) {
      EXPECT_EQ(got[t], 0x49249249u);
      EXPECT_EQ(got[32 + t], 1u);
      EXPECT_EQ(got[64 + t], 1u);
      EXPECT_EQ(got[96 + t], 0x11111111u << t % 4);
    }
  });
}

// Quarters of a warp go their own ways, with operations of their own in branches.
__global__ void divided(int* y) {
  const int t = static_cast<int>(threadIdx.x), quarter = t / 8;
  const unsigned mask = 0xffu << (8 * quarter);
  int v = t;
  if (quarter % 2 == 0) {
    for (int o = 4; o > 0; o /= 2) v += __shfl_xor_sync(mask, v, o, 8);
  } else {
    v = __popc(__ballot_sync(mask, t % 2)) * 1000 + quarter;
  }
  __syncwarp();
  y[t] = v + 10000 * __shfl_sync(~0u, quarter, 31);
}
TEST(Warp, PartsOfAWarpWithTheirOwnMasks) {
  const DeviceBuffer<int> y(32);
  in_every_order([&] {
    launch(divided, {1, 32}, y.data());
    const std::vector<int> got = y.values();
    for (int t = 0; t < 32; ++t) {
      const int quarter = t / 8;
      EXPECT_EQ(got[static_cast<size_t>(t)],
                30000 + (quarter % 2 == 0 ? 8 * 8 * quarter + 28 : 4000 + quarter));
    }
  });
}

// A warp that is not full: the mask may name lanes that never were.
__global__ void short_warp(int* y) {
  int v = 1;
  for (int o = 16; o > 0; o /= 2) {
    const int other = __shfl_down_sync(~0u, v, o);
    if (static_cast<int>(threadIdx.x) + o < static_cast<int>(blockDim.x)) v += other;
  }
  if (threadIdx.x == 0) *y = v;
}
TEST(Warp, LanesThatDoNotExist) {
  const DeviceBuffer<int> y(1);
  for (const unsigned threads : {1u, 5u, 31u}) {
    launch(short_warp, {1, threads}, y.data());
    EXPECT_EQ(y.values()[0], static_cast<int>(threads));
  }
}

__global__ void bad_width(int* y) { *y = __shfl_sync(~0u, 1, 0, 12); }
__global__ void not_in_mask(int* y) { *y = __shfl_sync(2u, 1, 0); }
TEST(Warp, Misuse) {
  const DeviceBuffer<int> y(1);
  EXPECT_THROW(launch(bad_width, {1, 32}, y.data()), CudaError);
  EXPECT_THROW(launch(not_in_mask, {1, 32}, y.data()), CudaError);
}

}  // namespace
}  // namespace tessera::cuda::testing

// Reports of errors, and the emulator behind them.

#include <gtest/gtest.h>

#include "cuda/launch.h"
#include "tests/cuda/device_buffer.h"

namespace tessera::cuda::testing {
namespace {

constexpr int kLine = __LINE__;
__global__ void reads_wildly(int* y, const int* x, int n) {
  __syncthreads();
  if (blockIdx.x == 2 && threadIdx.y == 3 && threadIdx.x == 5) y[100] = x[n];  // kLine + 3
  y[blockIdx.x * 32 + threadIdx.y * 8 + threadIdx.x] = x[0];
}

std::string message_of(void (*kernel)(int*, const int*, int), const DeviceBuffer<int>& y, int n) {
  const DeviceBuffer<int> x(std::vector<int>{7, 8});
  try {
    launch(kernel, {3, dim3(8, 4)}, y.data(), x.data(), n);
  } catch (const CudaError& e) {
    return e.what();
  }
  return "no error";
}

TEST(Errors, NameKernelBlockThreadAndLine) {
  const DeviceBuffer<int> y(128);
  y.fill_zero();
  in_every_order([&] {
    const std::string text = message_of(reads_wildly, y, 1 << 20);
    for (const std::string& part :
         {std::string("kernel tessera::cuda::testing::(anonymous namespace)::reads_wildly"),
          std::string("block (2,0,0)"), std::string("thread (5,3,0)"),
          std::string("error_test.cu:") + std::to_string(kLine + 3), std::string("launched at ")})
      EXPECT_NE(text.find(part), std::string::npos) << "no '" << part << "' in\n" << text;
    // The emulator goes on.
    EXPECT_EQ(message_of(reads_wildly, y, 1), "no error");
    for (size_t i = 0; i < 96; ++i) EXPECT_EQ(y.values()[i], 7);
  });
}

__global__ void half_waits(int* y, const int*, int) {
  if (threadIdx.x == 0) __syncwarp(1u << threadIdx.y % 2);
  if (blockIdx.x + threadIdx.x + threadIdx.y == 0) y[0] = 0;
}
__global__ void two_masks(int*, const int*, int) {
  const unsigned lane = threadIdx.x + 8 * threadIdx.y;
  __syncwarp(lane == 0 ? 3u : ~0u);
}
TEST(Errors, OfWarpOperations) {
  const DeviceBuffer<int> y(1);
  EXPECT_NE(message_of(half_waits, y, 0).find("not in its own mask"), std::string::npos);
  EXPECT_NE(message_of(two_masks, y, 0).find("wait for each other in different operations"),
            std::string::npos);
}

__global__ void waits_for_ever(int*, const int*, int) {
  if (threadIdx.y == 0)
    __syncthreads();
  else
    __syncwarp();
}
TEST(Errors, DeadlockSaysWhoWaitsWhere) {
  const DeviceBuffer<int> y(1);
  const std::string text = message_of(waits_for_ever, y, 0);
  EXPECT_NE(text.find("deadlock:"), std::string::npos) << text;
  EXPECT_NE(text.find("8 thread(s) wait in a barrier at error_test.cu:"), std::string::npos)
      << text;
  EXPECT_NE(text.find("24 thread(s) wait in a warp operation at error_test.cu:"), std::string::npos)
      << text;
}

__global__ void allocates(int*, const int*, int) { emulator::device_malloc(10); }
TEST(Errors, HostCallsWithinAKernel) {
  const DeviceBuffer<int> y(1);
  EXPECT_NE(message_of(allocates, y, 0).find("device_malloc() within a kernel"), std::string::npos);
}

}  // namespace
}  // namespace tessera::cuda::testing

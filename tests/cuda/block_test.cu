// Blocks: indices, barriers, shared memory, atomics, the orders of threads.

#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "cuda/launch.h"
#include "tests/cuda/device_buffer.h"

namespace tessera::cuda::testing {
namespace {

__global__ void write_indices(int* y) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  y[block * threads + thread] =
      static_cast<int>(threadIdx.z + 10 * threadIdx.y + 100 * threadIdx.x + 1000 * blockIdx.x +
                       10000 * blockIdx.y + 100000 * blockIdx.z);
}
TEST(Block, IndicesOfThreeAxes) {
  const DeviceBuffer<int> y(2 * 3 * 2 * 5 * 3 * 4);
  in_every_order([&] {
    launch(write_indices, {dim3(2, 3, 2), dim3(5, 3, 4)}, y.data());
    const std::vector<int> got = y.values();
    EXPECT_EQ(got[0], 0);
    EXPECT_EQ(got[59], 423);                   // thread (4,2,3)
    EXPECT_EQ(got[60], 1000);                  // block (1,0,0)
    EXPECT_EQ(got[2 * 60], 10000);             // block (0,1,0)
    EXPECT_EQ(got[(2 * 3 + 3) * 60], 111000);  // block (1,1,1)
    EXPECT_EQ(std::set<int>(got.begin(), got.end()).size(), got.size());
  });
}

__global__ void barrier_counts(int* y) {
  const int t = static_cast<int>(threadIdx.x);
  const int count = __syncthreads_count(t % 3 == 0), all = __syncthreads_and(t < 96),
            none = __syncthreads_or(t == 96);
  y[t] = count + 1000 * all + 10000 * none;
}
TEST(Block, BarriersThatCount) {
  const DeviceBuffer<int> y(96);
  in_every_order([&] {
    launch(barrier_counts, {1, 96}, y.data());
    for (const int v : y.values()) EXPECT_EQ(v, 1032);
  });
}

// Rotates a dynamic and a static array through each other.
__global__ void rotate(int* y, int rounds) {
  TESSERA_DYNAMIC_SHARED(int, a);
  TESSERA_SHARED(int, b, [128]);
  const unsigned t = threadIdx.x;
  a[t] = static_cast<int>(t);
  for (int r = 0; r < rounds; ++r) {
    __syncthreads();
    b[t] = a[(t + 1) % 128];
    __syncthreads();
    a[t] = b[(t + 2) % 128];
  }
  y[blockIdx.x * 128 + t] = a[t];
}
TEST(Block, SharedMemoryStaticAndDynamic) {
  const DeviceBuffer<int> y(3 * 128);
  in_every_order([&] {
    launch(rotate, {3, 128, 128 * sizeof(int)}, y.data(), 7);
    const std::vector<int> got = y.values();
    for (int i = 0; i < 3 * 128; ++i) ASSERT_EQ(got[static_cast<size_t>(i)], (i % 128 + 21) % 128);
  });
}

// Threads that leave do not hold up a barrier.
__global__ void some_leave(int* y) {
  if (threadIdx.x >= 40) return;
  __syncthreads();
  y[threadIdx.x] = 1;
}
TEST(Block, BarrierWithoutThreadsThatLeft) {
  const DeviceBuffer<int> y(40);
  in_every_order([&] {
    launch(some_leave, {1, 64}, y.data());
    EXPECT_EQ(y.values(), std::vector<int>(40, 1));
  });
  emulator::Options strict = emulator::options();
  strict.strict_exit = true;
  strict.order = emulator::Order::forward;
  const WithOptions with(strict);
  EXPECT_THROW(launch(some_leave, {1, 64}, y.data()), CudaError);
}

// A ticket for each thread and block, in the order they come.
__global__ void tickets(unsigned* order, unsigned* next) {
  const unsigned me = blockIdx.x * blockDim.x + threadIdx.x;
  order[me] = atomicAdd(next, 1u);
  __syncthreads();
  order[128 + me] = atomicAdd(next, 1u);
}
std::vector<unsigned> order_of_tickets(emulator::Order order, uint64_t seed = 1) {
  emulator::Options changed = emulator::options();
  changed.order = order;
  changed.seed = seed;
  const WithOptions with(changed);
  const DeviceBuffer<unsigned> y(256), next(1);
  next.fill_zero();
  launch(tickets, {2, 64}, y.data(), next.data());
  return y.values();
}
TEST(Block, OrdersDiffer) {
  using emulator::Order;
  const std::vector<unsigned> forward = order_of_tickets(Order::forward);
  for (unsigned i = 0; i < 64; ++i) {
    EXPECT_EQ(forward[i], i);
    EXPECT_EQ(forward[128 + i], 64 + i);
    EXPECT_EQ(forward[64 + i], 128 + i);
  }
  const std::vector<unsigned> reverse = order_of_tickets(Order::reverse);
  for (unsigned i = 0; i < 64; ++i) {
    EXPECT_EQ(reverse[64 + i], 63 - i);  // the last block comes first
    EXPECT_EQ(reverse[i], 128 + 63 - i);
  }
  const std::vector<unsigned> depth = order_of_tickets(Order::depth_first);
  for (unsigned i = 0; i < 64; ++i) EXPECT_EQ(depth[i], i);
  const std::vector<unsigned> random = order_of_tickets(Order::random, 5);
  EXPECT_EQ(random, order_of_tickets(Order::random, 5));
  EXPECT_NE(random, order_of_tickets(Order::random, 6));
  EXPECT_NE(random, forward);
}

__global__ void atomics(int* i, unsigned* u, float* f, unsigned long long* l) {
  const int t = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  atomicAdd(&i[0], t);
  atomicSub(&i[1], t);
  atomicMin(&i[2], 50 - t);
  atomicMax(&i[3], t);
  atomicOr(&u[0], 1u << t % 32);
  atomicAnd(&u[1], ~(1u << t % 16));
  atomicXor(&u[2], 1u << t % 32);
  atomicInc(&u[3], 9u);
  atomicDec(&u[4], 9u);
  atomicAdd(f, 0.5f);
  atomicCAS(&l[0], 7ull, 1000ull + static_cast<unsigned>(t));
  atomicExch(&l[1], 5ull);
}
TEST(Block, Atomics) {
  in_every_order([] {
    const DeviceBuffer<int> i(std::vector<int>{0, 0, 0, 0});
    const DeviceBuffer<unsigned> u(std::vector<unsigned>{0, ~0u, 0, 0, 0});
    const DeviceBuffer<float> f(std::vector<float>{1});
    const DeviceBuffer<unsigned long long> l(std::vector<unsigned long long>{7, 0});
    launch(atomics, {4, 24}, i.data(), u.data(), f.data(), l.data());
    EXPECT_EQ(i.values(), (std::vector<int>{95 * 48, -95 * 48, -45, 95}));
    EXPECT_EQ(u.values(), (std::vector<unsigned>{~0u, 0xffff0000u, ~0u, 96 % 10, 10 - 96 % 10}));
    EXPECT_EQ(f.values()[0], 49.0f);
    EXPECT_GE(l.values()[0], 1000u);
    EXPECT_LT(l.values()[0], 1096u);
    EXPECT_EQ(l.values()[1], 5u);
  });
}

// Launches of several threads of the process take turns, each with its own block and builtins.
TEST(Block, LaunchesFromSeveralThreads) {
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, -1);
  for (size_t k = 0; k < wrong.size(); ++k)
    threads.emplace_back([&wrong, k] {
      int count = 0;
      const DeviceBuffer<int> y(3 * 128);
      for (int round = 0; round < 20; ++round) {
        const int turns = static_cast<int>(k) + round;
        launch(rotate, {3, 128, 128 * sizeof(int)}, y.data(), turns);
        const std::vector<int> got = y.values();
        for (int i = 0; i < 3 * 128; ++i)
          count += got[static_cast<size_t>(i)] != (i % 128 + 3 * turns) % 128;
      }
      wrong[k] = count;
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

// Threads that change places at memory accesses too, where these are seen.
TEST(Block, Preemption) {
  emulator::Options changed = emulator::options();
  changed.order = emulator::Order::random;
  changed.preempt = 0.2;
  const WithOptions with(changed);
  const uint64_t before = emulator::stats().switches;
  const DeviceBuffer<int> y(3 * 128);
  launch(rotate, {3, 128, 128 * sizeof(int)}, y.data(), 7);
  const std::vector<int> got = y.values();
  for (int i = 0; i < 3 * 128; ++i) ASSERT_EQ(got[static_cast<size_t>(i)], (i % 128 + 21) % 128);
  const uint64_t at_barriers = 3 * 128 * 14;
  if (std::string(emulator_mode()) == "check") {
    EXPECT_GT(emulator::stats().switches - before, at_barriers * 5 / 4);
  }
}

__global__ void nothing(int*) {}
TEST(Block, LimitsOfALaunch) {
  int* none = nullptr;
  EXPECT_NO_THROW(launch(nothing, {1, 1024}, none));
  EXPECT_THROW(launch(nothing, {1, 1025}, none), CudaError);
  EXPECT_THROW(launch(nothing, {1, dim3(1, 1, 65)}, none), CudaError);
  EXPECT_THROW(launch(nothing, {0, 32}, none), CudaError);
  EXPECT_THROW(launch(nothing, {dim3(1, 65536), 32}, none), CudaError);
  EXPECT_THROW(launch(nothing, {1, 32, 49 * 1024}, none), CudaError);
  allow_dynamic_shared(nothing, 100 * 1024);
  EXPECT_NO_THROW(launch(nothing, {1, 32, 100 * 1024}, none));
  EXPECT_THROW(launch(nothing, {1, 32, 101 * 1024}, none), CudaError);
  EXPECT_THROW(allow_dynamic_shared(nothing, 228 * 1024), CudaError);
}

__global__ void too_much_static(float* y) {
  TESSERA_SHARED(float, a, [8192]);
  TESSERA_SHARED(float, b, [8192]);
  a[threadIdx.x] = b[threadIdx.x] = 0;
  *y = a[0];
}
TEST(Block, LimitOfStaticSharedMemory) {
  const DeviceBuffer<float> y(1);
  EXPECT_THROW(launch(too_much_static, {1, 32}, y.data()), CudaError);
}

}  // namespace
}  // namespace tessera::cuda::testing

// Kernels that are wrong, each in one way, and a few that are right.

#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "cuda/hopper.h"
#include "cuda/launch.h"
#include "cuda/tensor_core.h"
#include "tensor/dtype.h"
#include "tests/cuda/device_buffer.h"
#include "tests/cuda/planted.h"

namespace tessera::cuda::testing {
namespace {

constexpr int kCount = 256;
using Kernel = void(float* y, const float* x, int n);

// ---- sound kernels

__global__ void add_one(float* y, const float* x, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) y[i] = x[i] + 1;
}

__global__ void warp_tree(float* y, const float* x, int) {
  TESSERA_SHARED(float, s, [64]);
  const int t = static_cast<int>(threadIdx.x);
  s[t] = x[t];
  __syncthreads();
  if (t < 32)
    for (int o = 32; o > 0; o /= 2) {
      const float v = t < o ? s[t + o] : 0;
      __syncwarp();
      if (t < o) s[t] += v;
      __syncwarp();
    }
  if (t == 0) y[0] = s[0];
}

// Every cell is read by a neighbour, then, behind a __syncwarp(), read and written by its owner.
__global__ void warp_neighbours(float* y, const float* x, int) {
  TESSERA_SHARED(float, s, [32]);
  const unsigned t = threadIdx.x;
  s[t] = x[t];
  __syncwarp();
  for (int round = 0; round < 3; ++round) {
    const float v = s[(t + 1) % 32];
    __syncwarp();
    s[t] += v;
    __syncwarp();
  }
  y[t] = s[t];
}

__global__ void histogram(float* y, const float* x, int n) {
  TESSERA_SHARED(int, counts, [16]);
  const int t = static_cast<int>(threadIdx.x);
  if (t < 16) counts[t] = 0;
  __syncthreads();
  for (int i = static_cast<int>(blockIdx.x * blockDim.x) + t; i < n;
       i += static_cast<int>(gridDim.x * blockDim.x))
    atomicAdd(&counts[static_cast<int>(x[i]) % 16], 1);
  __syncthreads();
  if (t < 16) atomicAdd(&y[t], static_cast<float>(counts[t]));
}

__global__ void half_warps(float* y, const float* x, int) {
  const unsigned mask = threadIdx.x & 16 ? 0xffff0000u : 0xffffu;
  float v = x[threadIdx.x];
  for (int o = 8; o > 0; o /= 2) v += __shfl_xor_sync(mask, v, o, 16);
  y[threadIdx.x] = v;
}

// Bytes and halves: neighbours of one word written by different threads.
__global__ void narrow_types(float* y, const float* x, int n) {
  TESSERA_SHARED(unsigned char, bytes, [256]);
  TESSERA_SHARED(Half, halves, [256]);
  const unsigned t = threadIdx.x;
  bytes[255 - t] = static_cast<unsigned char>(x[t]);
  halves[t] = Half(x[t]);
  __syncthreads();
  if (static_cast<int>(t) < n) y[t] = static_cast<float>(bytes[255 - t]) + halves[255 - t];
}

// ---- wrong kernels

__global__ void missing_barrier(float* y, const float* x, int) {
  TESSERA_SHARED(float, tile, [16][17]);
  const unsigned row = threadIdx.x / 16, column = threadIdx.x % 16;
  for (int round = 0; round < 2; ++round) {
    tile[row][column] = x[threadIdx.x] + static_cast<float>(round);
    __syncthreads();
    y[256 * round + static_cast<int>(threadIdx.x)] = tile[column][row];
    // The next round writes what others still read.
  }
}

__global__ void shared_overrun(float* y, const float* x, int) {
  TESSERA_SHARED(float, taps, [32]);
  for (unsigned i = threadIdx.x; i <= 32; i += blockDim.x) taps[i] = x[i];
  __syncthreads();
  y[threadIdx.x] = taps[threadIdx.x % 32];
}

__global__ void unwritten_output(float* y, const float* x, int n) {
  const int i = static_cast<int>(threadIdx.x);
  if (i < n - 1) y[i] = x[i];
}

__global__ void write_after_read(float* y, const float* x, int n) {
  TESSERA_SHARED(float, s, [32]);
  float total = 0;
  for (unsigned round = 0; round < 4; ++round) {
    float v = x[(threadIdx.x * 7 + round) % static_cast<unsigned>(n)];
    for (int o = 16; o > 0; o /= 2) v += __shfl_xor_sync(~0u, v, o);
    if (threadIdx.x % 32 == 0) s[threadIdx.x / 32] = v;
    __syncthreads();
    for (unsigned k = 0; k < blockDim.x / 32; ++k) total += s[k];
    // No barrier before the next round's writes.
  }
  y[threadIdx.x] = total;
}

__global__ void missing_syncwarp(float* y, const float* x, int) {
  TESSERA_SHARED(float, s, [64]);
  const int t = static_cast<int>(threadIdx.x);
  s[t] = x[t];
  __syncthreads();
  if (t < 32)
    for (int o = 32; o > 0; o /= 2)
      if (t < o) s[t] += s[t + o];
  if (t == 0) y[0] = s[0];
}

__global__ void divergent_barrier(float* y, const float* x, int) {
  TESSERA_SHARED(float, s, [64]);
  s[threadIdx.x] = x[threadIdx.x];
  if (threadIdx.x < 32)
    __syncthreads();
  else
    __syncthreads();
  y[threadIdx.x] = s[63 - threadIdx.x];
}

__global__ void half_warp_shuffle(float* y, const float* x, int) {
  float v = x[threadIdx.x];
  if (threadIdx.x & 1) v += __shfl_xor_sync(~0u, v, 2);
  y[threadIdx.x] = v;
}

__global__ void uninitialised_shared(float* y, const float* x, int) {
  TESSERA_SHARED(float, s, [64]);
  if (threadIdx.x < 60) s[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  float most = -1e30f;
  for (int i = 0; i < 64; ++i) most = fmaxf(most, s[i]);  // which hides NaN
  y[threadIdx.x] = most;
}

__global__ void read_past_end(float* y, const float* x, int n) {
  const int i = static_cast<int>(threadIdx.x);
  if (i >= n) return;
  const volatile float next = x[i + 1];
  y[i] = i + 1 < n ? x[i] + next : x[i];
}

__global__ void write_past_end(float* y, const float* x, int n) {
  const int i = static_cast<int>(threadIdx.x);
  if (i <= n) y[i] = x[i % 32];  // y holds n
}

__global__ void add_without_atomic(float* y, const float* x, int) {
  if (threadIdx.x == 0) y[0] += x[blockIdx.x];
}

__global__ void exited_lane(float* y, const float* x, int n) {
  const int i = static_cast<int>(threadIdx.x);
  if (i >= n) return;
  float v = x[i];
  v += __shfl_down_sync(~0u, v, 1);
  y[i] = v;
}

__global__ void row_overrun(float* y, const float* x, int) {
  TESSERA_SHARED(float, s, [8][8]);
  const unsigned row = threadIdx.x / 8, column = threadIdx.x % 8;
  s[row][column] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = row < 7 ? s[row][column + 1] : s[row][column];
}

__global__ void reads_other_block(float* y, const float* x, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  y[i] = x[i];
  const int other = i - static_cast<int>(blockDim.x);
  y[n + i] = other >= 0 ? y[other] : 0;
}

__global__ void dynamic_overrun(float* y, const float* x, int) {
  TESSERA_DYNAMIC_SHARED(float, s);
  s[threadIdx.x + 1] = x[threadIdx.x];
  if (threadIdx.x == 0) s[0] = 0;
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x];
}

__global__ void misaligned_vector(float* y, const float* x, int n) {
  const unsigned at = 1 + 4 * (threadIdx.x % static_cast<unsigned>(n / 8));
  const float4 v = *reinterpret_cast<const float4*>(x + at);
  y[threadIdx.x] = v.x + v.y;
}

__global__ void missing_copy_wait(float* y, const float* x, int) {
  TESSERA_SHARED_ALIGNED(16, float, s, [128]);
  cp_async16(&s[4 * threadIdx.x], x + 4 * threadIdx.x);
  cp_async_commit();
  cp_async_wait<1>();
  __syncthreads();
  for (unsigned i = threadIdx.x; i < 128; i += 32) y[i] = s[i];
  cp_async_wait<0>();
}

__device__ __attribute__((noinline)) float deeper(const float* x, int n) {
  volatile float frame[256];
  for (int i = 0; i < 256; ++i) frame[i] = x[i];
  return n > 0 ? deeper(x, n - 1) + frame[n % 256] : frame[0];
}
__global__ void stack_overflow(float* y, const float* x, int) { y[threadIdx.x] = deeper(x, 1000); }

__global__ void divides_by_zero(float* y, const float* x, int n) {
  y[threadIdx.x] = static_cast<float>(n / static_cast<int>(x[threadIdx.x] - x[threadIdx.x]));
}

// One 64 x 64 product over 64 steps, as a warpgroup of a Hopper makes it.
template <bool kWaitForCopy, bool kWaitForProduct>
__global__ void tiny_wgmma(float* y, const __grid_constant__ TensorMap a,
                           const __grid_constant__ TensorMap b) {
  TESSERA_SHARED_ALIGNED(1024, uint16_t, tile_a, [64][64]);
  TESSERA_SHARED_ALIGNED(1024, uint16_t, tile_b, [64][64]);
  TESSERA_SHARED(uint64_t, full, [1]);
  if (threadIdx.x == 0) mbar_init(full, 1);
  __syncthreads();
  if (threadIdx.x == 0) {
    mbar_expect_tx(full, sizeof tile_a + sizeof tile_b);
    tma_load_2d(tile_a, &a, 0, 0, full);
    tma_load_2d(tile_b, &b, 0, 0, full);
  }
  if (kWaitForCopy) mbar_wait(full, 0);
  float d[32] = {};
  const uint64_t at_a = wgmma_desc_sw128(tile_a), at_b = wgmma_desc_sw128(tile_b);
  wgmma_fence();
  for (unsigned k = 0; k < 4; ++k) wgmma_m64n64k16_bf16(d, at_a + 2 * k, at_b + 2 * k, k > 0);
  wgmma_commit();
  if (kWaitForProduct) wgmma_wait<0>();
  const unsigned warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, p = threadIdx.x % 4;
  for (unsigned i = 0; i < 32; ++i)
    y[(16 * warp + g + 8 * (i / 2 % 2)) * 64 + 8 * (i / 4) + 2 * p + i % 2] = d[i];
  wgmma_wait<0>();
}

// ---- what they should compute

std::vector<float> input() {
  std::vector<float> x(kCount);
  for (int i = 0; i < kCount; ++i) x[static_cast<size_t>(i)] = static_cast<float>(i % 13 + 1);
  return x;
}

struct Run {
  Kernel* kernel;
  unsigned grid = 1, block = 64;
  size_t shared_bytes = 0;
  int n = kCount;
  size_t outputs = 2 * kCount;
  bool zeroed = true;
};

using Expected = std::function<float(int i, const std::vector<float>& x)>;

std::string difference(const std::vector<float>& y, const Expected& expected,
                       const std::vector<float>& x) {
  for (size_t i = 0; i < y.size(); ++i) {
    const float want = expected(static_cast<int>(i), x);
    if (!(y[i] == want)) return cat("element ", i, " is ", y[i], ", not ", want);
  }
  return {};
}

std::string run(const Run& r, const Expected& expected) {
  const std::vector<float> x = input();
  const DeviceBuffer<float> on_device(x), y(r.outputs);
  if (r.zeroed) y.fill_zero();
  launch(r.kernel, {r.grid, r.block, r.shared_bytes}, y.data(), on_device.data(), r.n);
  return difference(y.values(), expected, x);
}

float sum(const std::vector<float>& x, int count) {
  float total = 0;
  for (int i = 0; i < count; ++i) total += x[static_cast<size_t>(i)];
  return total;
}
float at(const std::vector<float>& x, int i) { return x[static_cast<size_t>(i)]; }

std::string run_host_pointer() {
  const std::vector<float> x = input();
  const DeviceBuffer<float> y(static_cast<size_t>(kCount));
  launch(add_one, {1, kCount}, y.data(), x.data(), kCount);
  return difference(
      y.values(), [](int i, auto& v) { return at(v, i) + 1; }, x);
}

template <bool kWaitForCopy, bool kWaitForProduct>
std::string run_wgmma() {
  std::vector<BFloat16> a(64 * 64), b(64 * 64);
  for (size_t i = 0; i < a.size(); ++i) {
    a[i] = BFloat16(static_cast<float>(i % 7) - 3);
    b[i] = BFloat16(static_cast<float>(i % 5) - 2);
  }
  const DeviceBuffer<BFloat16> on_a(a), on_b(b);
  const DeviceBuffer<float> y(64 * 64);
  launch(tiny_wgmma<kWaitForCopy, kWaitForProduct>, {1, 128}, y.data(),
         make_tensor_map_bf16(on_a.data(), 64, 64, 64),
         make_tensor_map_bf16(on_b.data(), 64, 64, 64));
  return difference(y.values(),
                    [&](int i, auto&) {
                      float total = 0;
                      for (int k = 0; k < 64; ++k)
                        total += static_cast<float>(a[static_cast<size_t>(i / 64 * 64 + k)]) *
                                 static_cast<float>(b[static_cast<size_t>(i % 64 * 64 + k)]);
                      return total;
                    },
                    {});
}

std::string run_histogram() {
  return run({.kernel = histogram, .grid = 4, .outputs = 16}, [](int i, auto& x) {
    float count = 0;
    for (const float v : x) count += static_cast<int>(v) % 16 == i;
    return count;
  });
}

std::string run_half_warps() {
  return run({.kernel = half_warps, .block = 32, .outputs = 32}, [](int i, auto& x) {
    float total = 0;
    for (int k = 0; k < 16; ++k) total += at(x, i / 16 * 16 + k);
    return total;
  });
}

std::string run_neighbours() {
  return run({.kernel = warp_neighbours, .block = 32, .outputs = 32}, [](int i, auto& x) {
    const float weights[] = {1, 3, 3, 1};
    float total = 0;
    for (int k = 0; k < 4; ++k) total += weights[k] * at(x, (i + k) % 32);
    return total;
  });
}

// Only what is read was ever written.
std::string run_partly_written() {
  const std::vector<float> x = input();
  const DeviceBuffer<float> on_device(1000), y(1000);
  emulator::copy_in(on_device.data() + 3, x.data(), kCount * sizeof(float));
  launch(add_one, {2, 128}, y.data() + 1, static_cast<const float*>(on_device.data() + 3), kCount);
  emulator::copy_within(on_device.data(), y.data(), 1000 * sizeof(float));
  std::vector<float> got(kCount);
  emulator::copy_out(got.data(), on_device.data() + 1, kCount * sizeof(float));
  return difference(
      got, [](int i, auto& v) { return at(v, i) + 1; }, x);
}

std::string run_write_after_read() {
  return run({.kernel = write_after_read, .block = 256, .outputs = 256}, [](int, auto& x) {
    float total = 0;
    for (int round = 0; round < 4; ++round)
      for (int i = 0; i < 256; ++i) total += at(x, (i * 7 + round) % kCount);
    return total;
  });
}

}  // namespace

const std::vector<Planted>& planted_kernels() {
  static const std::vector<Planted> all = {
      {"sound",
       [] {
         return run({.kernel = add_one, .block = 256, .outputs = 256},
                    [](int i, auto& x) { return at(x, i) + 1; });
       }},
      {"sound_warp_tree",
       [] {
         return run({.kernel = warp_tree, .outputs = 1}, [](int, auto& x) { return sum(x, 64); });
       }},
      {"sound_warp_neighbours", run_neighbours},
      {"sound_histogram", run_histogram},
      {"sound_half_warps", run_half_warps},
      {"sound_narrow_types",
       [] {
         return run({.kernel = narrow_types, .block = 256, .outputs = 256, .zeroed = false},
                    [](int i, auto& x) { return at(x, i) + at(x, 255 - i); });
       }},
      {"sound_partly_written", run_partly_written},
      {"sound_wgmma", run_wgmma<true, true>},
      {"missing_barrier",
       [] {
         return run({.kernel = missing_barrier, .block = 256}, [](int i, auto& x) {
           const int k = i % 256;
           return at(x, k % 16 * 16 + k / 16) + static_cast<float>(i / 256);
         });
       }},
      {"shared_overrun",
       [] {
         return run({.kernel = shared_overrun, .outputs = 64},
                    [](int i, auto& x) { return at(x, i % 32); });
       }},
      {"unwritten_output",
       [] {
         return run({.kernel = unwritten_output, .block = 256, .outputs = 256, .zeroed = false},
                    [](int i, auto& x) { return at(x, i); });
       }},
      {"write_after_read", run_write_after_read},
      {"missing_syncwarp",
       [] {
         return run({.kernel = missing_syncwarp, .outputs = 1},
                    [](int, auto& x) { return sum(x, 64); });
       }},
      {"divergent_barrier",
       [] {
         return run({.kernel = divergent_barrier, .outputs = 64},
                    [](int i, auto& x) { return at(x, 63 - i); });
       }},
      {"half_warp_shuffle",
       [] {
         return run({.kernel = half_warp_shuffle, .block = 32, .outputs = 32},
                    [](int i, auto& x) { return at(x, i) + (i % 2 ? at(x, i ^ 2) : 0); });
       }},
      {"uninitialised_shared",
       [] {
         return run({.kernel = uninitialised_shared, .outputs = 64},
                    [](int, auto&) { return 13.0f; });
       }},
      {"read_past_end",
       [] {
         return run({.kernel = read_past_end, .block = 256, .outputs = 256}, [](int i, auto& x) {
           return i + 1 < kCount ? at(x, i) + at(x, i + 1) : at(x, i);
         });
       }},
      {"write_past_end",
       [] {
         return run({.kernel = write_past_end, .n = 50, .outputs = 50},
                    [](int i, auto& x) { return at(x, i % 32); });
       }},
      {"add_without_atomic",
       [] {
         return run({.kernel = add_without_atomic, .grid = 8, .block = 32, .outputs = 1},
                    [](int, auto& x) { return sum(x, 8); });
       }},
      {"host_pointer", run_host_pointer},
      {"exited_lane",
       [] {
         return run({.kernel = exited_lane, .block = 32, .n = 20, .outputs = 20},
                    [](int i, auto& x) { return at(x, i) + (i < 19 ? at(x, i + 1) : 0); });
       }},
      {"row_overrun",
       [] {
         return run({.kernel = row_overrun, .outputs = 64},
                    [](int i, auto& x) { return i / 8 < 7 ? at(x, i + 1) : at(x, i); });
       }},
      {"reads_other_block",
       [] {
         return run({.kernel = reads_other_block, .grid = 4}, [](int i, auto& x) {
           return i < kCount ? at(x, i) : i - kCount >= 64 ? at(x, i - kCount - 64) : 0;
         });
       }},
      {"dynamic_overrun",
       [] {
         return run({.kernel = dynamic_overrun, .shared_bytes = 256, .outputs = 64},
                    [](int i, auto& x) { return i > 0 ? at(x, i - 1) : 0; });
       }},
      {"misaligned_vector",
       [] {
         return run({.kernel = misaligned_vector, .outputs = 64}, [](int i, auto& x) {
           return at(x, 1 + 4 * (i % 32)) + at(x, 2 + 4 * (i % 32));
         });
       }},
      {"missing_copy_wait",
       [] {
         return run({.kernel = missing_copy_wait, .block = 32, .outputs = 128},
                    [](int i, auto& x) { return at(x, i); });
       }},
      {"missing_mbarrier_wait", run_wgmma<false, true>},
      {"missing_wgmma_wait", run_wgmma<true, false>},
      {"stack_overflow",
       [] {
         return run({.kernel = stack_overflow, .outputs = 64},
                    [](int i, auto& x) { return at(x, i); });
       }},
      {"divides_by_zero",
       [] {
         return run({.kernel = divides_by_zero, .outputs = 64}, [](int, auto&) { return 0.0f; });
       }},
  };
  return all;
}

int run_planted(const std::string& name) {
  for (const Planted& planted : planted_kernels()) {
    if (name != planted.name) continue;
    try {
      const std::string wrong = planted.run();
      std::printf("%s\n", wrong.empty() ? "nothing" : ("wrong value: " + wrong).c_str());
    } catch (const CudaError& e) {
      std::printf("report: %s\n", e.what());
    }
    return 0;
  }
  std::printf("there is no planted kernel '%s'\n", name.c_str());
  return 2;
}

}  // namespace tessera::cuda::testing

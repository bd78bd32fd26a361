// Tensor cores and asynchronous copies, by whole matrix products.

#include "cuda/tensor_core.h"

#include <gtest/gtest.h>

#include "cuda/hopper.h"
#include "cuda/launch.h"
#include "tensor/dtype.h"
#include "tests/cuda/device_buffer.h"

namespace tessera::cuda::testing {
namespace {

std::vector<BFloat16> matrix(int rows, int columns, int seed) {
  std::vector<BFloat16> out(static_cast<size_t>(rows * columns));
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = BFloat16(static_cast<float>((static_cast<int>(i) * 37 + seed) % 17 - 8));
  return out;
}

// Products of whole numbers: every order of sums gives the same.
void expect_product(const std::vector<float>& c, const std::vector<BFloat16>& a,
                    const std::vector<BFloat16>& b, int m, int n, int k, bool b_transposed) {
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      float want = 0;
      for (int s = 0; s < k; ++s)
        want += static_cast<float>(a[static_cast<size_t>(i * k + s)]) *
                static_cast<float>(b[static_cast<size_t>(b_transposed ? j * k + s : s * n + j)]);
      ASSERT_EQ(c[static_cast<size_t>(i * n + j)], want) << i << ", " << j;
    }
}

// One warp, 16 x 16 of C: A through ldmatrix, B through the transposing one, two stages of copies.
__global__ void warp_product(float* c, const BFloat16* a, const BFloat16* b, int n, int k) {
  TESSERA_SHARED_ALIGNED(16, BFloat16, tile_a, [2][16][24]);
  TESSERA_SHARED_ALIGNED(16, BFloat16, tile_b, [2][16][24]);
  const int lane = static_cast<int>(threadIdx.x), row = lane / 2, part = lane % 2 * 8;
  const int m0 = static_cast<int>(blockIdx.y) * 16, n0 = static_cast<int>(blockIdx.x) * 16;
  const auto load = [&](int step) {
    const int left = k - step * 16;  // the last step may be half as long
    const unsigned valid_a = part < left ? 16 : 0, valid_b = row < left ? 16 : 0;
    cp_async16(&tile_a[step % 2][row][part], valid_a ? a + (m0 + row) * k + step * 16 + part : a,
               valid_a);
    cp_async16(&tile_b[step % 2][row][part], valid_b ? b + (step * 16 + row) * n + n0 + part : b,
               valid_b);
    cp_async_commit();
  };
  float sum[2][4] = {};
  const int steps = (k + 15) / 16;
  load(0);
  for (int step = 0; step < steps; ++step) {
    if (step + 1 < steps) {
      load(step + 1);
      cp_async_wait<1>();
    } else {
      cp_async_wait<0>();
    }
    __syncwarp();
    uint32_t ra[4], rb[4];
    ldmatrix_x4(ra, &tile_a[step % 2][lane % 16][lane / 16 * 8]);
    ldmatrix_x4_trans(rb, &tile_b[step % 2][lane % 16][lane / 16 * 8]);
    for (int half = 0; half < 2; ++half) {
      const uint32_t b_half[2] = {rb[2 * half], rb[2 * half + 1]};
      mma_m16n8k16_bf16(sum[half], ra, b_half, sum[half]);
    }
    __syncwarp();
  }
  for (int half = 0; half < 2; ++half)
    for (int i = 0; i < 4; ++i)
      c[(m0 + lane / 4 + 8 * (i / 2)) * n + n0 + 8 * half + lane % 4 * 2 + i % 2] = sum[half][i];
}

TEST(TensorCore, ProductByMmaSync) {
  constexpr int kM = 32, kN = 48;
  for (const int k : {16, 40, 64}) {
    const std::vector<BFloat16> a = matrix(kM, k, 1), b = matrix(k, kN, 5);
    const DeviceBuffer<BFloat16> on_a(a), on_b(b);
    const DeviceBuffer<float> c(kM * kN);
    in_every_order([&] {
      launch(warp_product, {dim3(kN / 16, kM / 16), 32}, c.data(), on_a.data(), on_b.data(), kN, k);
      expect_product(c.values(), a, b, kM, kN, k, false);
    });
  }
}

// A warpgroup, 64 x 64 of C, K in steps of 64 through two stages of the TMA.
__global__ void __launch_bounds__(128)
    warpgroup_product(float* c, const __grid_constant__ TensorMap a,
                      const __grid_constant__ TensorMap b, int m, int n, int k) {
  TESSERA_SHARED_ALIGNED(1024, BFloat16, tile_a, [2][64][64]);
  TESSERA_SHARED_ALIGNED(1024, BFloat16, tile_b, [2][64][64]);
  TESSERA_SHARED(uint64_t, full, [2]);
  const int t = static_cast<int>(threadIdx.x), steps = (k + 63) / 64;
  const int m0 = static_cast<int>(blockIdx.y) * 64, n0 = static_cast<int>(blockIdx.x) * 64;
  if (t == 0) {
    mbar_init(&full[0], 1);
    mbar_init(&full[1], 1);
  }
  __syncthreads();
  const auto load = [&](int step) {
    if (t != 0) return;
    mbar_expect_tx(&full[step % 2], 2 * 64 * 64 * 2);
    tma_load_2d(tile_a[step % 2], &a, step * 64, m0, &full[step % 2]);
    tma_load_2d(tile_b[step % 2], &b, step * 64, n0, &full[step % 2]);
  };
  float d[32] = {};
  load(0);
  for (int step = 0; step < steps; ++step) {
    if (step + 1 < steps) load(step + 1);
    mbar_wait(&full[step % 2], static_cast<unsigned>(step / 2 % 2));
    wgmma_fence();
    const uint64_t at_a = wgmma_desc_sw128(tile_a[step % 2]);
    const uint64_t at_b = wgmma_desc_sw128(tile_b[step % 2]);
    for (unsigned i = 0; i < 4; ++i)
      wgmma_m64n64k16_bf16(d, at_a + 2 * i, at_b + 2 * i, step > 0 || i > 0);
    wgmma_commit();
    wgmma_wait<0>();
    __syncthreads();
  }
  for (int i = 0; i < 32; ++i) {
    const int row = m0 + t / 32 * 16 + t % 32 / 4 + 8 * (i / 2 % 2);
    const int column = n0 + 8 * (i / 4) + 2 * (t % 4) + i % 2;
    if (row < m && column < n) c[row * n + column] = d[i];
  }
}

TEST(TensorCore, ProductByTmaAndWgmma) {
  constexpr int kM = 72, kN = 88, kK = 136;
  const std::vector<BFloat16> a = matrix(kM, kK, 2), b = matrix(kN, kK, 9);
  const DeviceBuffer<BFloat16> on_a(a), on_b(b);
  const DeviceBuffer<float> c(kM * kN);
  in_every_order([&] {
    launch(warpgroup_product, {dim3(2, 2), 128}, c.data(),
           make_tensor_map_bf16(on_a.data(), kM, kK, 64),
           make_tensor_map_bf16(on_b.data(), kN, kK, 64), kM, kN, kK);
    expect_product(c.values(), a, b, kM, kN, kK, true);
  });
  EXPECT_THROW(make_tensor_map_bf16(on_a.data() + 1, kM, kK, 64), CudaError);
  EXPECT_THROW(make_tensor_map_bf16(on_a.data(), kM, kK + 1, 64), CudaError);
}

__global__ void loads_from_global(uint32_t* y, const BFloat16* x) {
  uint32_t r[4];
  ldmatrix_x4(r, x + 8 * (threadIdx.x % 8));
  y[threadIdx.x] = r[0];
}
__global__ void misaligned_copy(float* y, const float* x) {
  TESSERA_SHARED_ALIGNED(16, float, s, [64]);
  cp_async16(&s[1], x);
  cp_async_wait<0>();
  y[0] = s[1];
}
__global__ void copy_left_behind(float* y, const float* x) {
  TESSERA_SHARED_ALIGNED(16, float, s, [64]);
  cp_async16(s, x);
  cp_async_commit();
  y[0] = 1;
}
TEST(TensorCore, Misuse) {
  const DeviceBuffer<BFloat16> x(matrix(16, 16, 1));
  const DeviceBuffer<uint32_t> y(32);
  EXPECT_THROW(launch(loads_from_global, {1, 32}, y.data(), x.data()), CudaError);
  const DeviceBuffer<float> z(std::vector<float>(64, 1));
  EXPECT_THROW(launch(misaligned_copy, {1, 1}, z.data(), z.data() + 4), CudaError);
  EXPECT_THROW(launch(copy_left_behind, {1, 1}, z.data(), z.data() + 4), CudaError);
}

}  // namespace
}  // namespace tessera::cuda::testing

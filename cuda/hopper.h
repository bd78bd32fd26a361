#pragma once

#include <cstdint>

#include "cuda/device.h"
#include "tensor/error.h"

#if TESSERA_CUDA_EMULATED
#include "cuda/emulator/hopper.h"
#else
#include <cuda.h>
#endif

/// What only a Hopper GPU has (sm_90a): copies of boxes by the TMA, mbarriers, and matrix products
/// of a warpgroup from shared memory. The emulator carries them out as these wrappers mean them,
/// but both stem from one reading of the manuals: what uses them stays off until it has run on a
/// GPU.
namespace tessera::cuda {

#if !TESSERA_CUDA_EMULATED

using TensorMap = CUtensorMap;

/// The map of a bf16 matrix (rows, cols), row-major, for boxes of box_rows x 64 elements (128 bytes
/// a row, 128-byte swizzle); what lies outside of the matrix reads as 0.
inline TensorMap make_tensor_map_bf16(const void* base, uint64_t rows, uint64_t cols,
                                      uint32_t box_rows) {
  void* encode = nullptr;
  cudaDriverEntryPointQueryResult found;
  TESSERA_CHECK(CudaError,
                cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &encode, 12000,
                                                 cudaEnableDefault, &found) == cudaSuccess &&
                    encode != nullptr,
                "the driver has no cuTensorMapEncodeTiled");
  TensorMap map;
  const cuuint64_t size[2] = {cols, rows}, stride[1] = {cols * 2};
  const cuuint32_t box[2] = {64, box_rows}, step[2] = {1, 1};
  const CUresult status = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(encode)(
      &map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<void*>(base), size, stride, box, step,
      CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  TESSERA_CHECK(CudaError, status == CUDA_SUCCESS, "cuTensorMapEncodeTiled: error ",
                static_cast<int>(status), " for a matrix (", rows, ", ", cols, "), box of ",
                box_rows, " rows");
  return map;
}

namespace detail {
__device__ inline unsigned address_in_shared(const void* p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}
}  // namespace detail

/// One thread initialises a barrier in shared memory for `arrivals` arrivals a phase; a
/// __syncthreads() follows before others use it.
__device__ inline void mbar_init(uint64_t* barrier, unsigned arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(detail::address_in_shared(barrier)),
               "r"(arrivals)
               : "memory");
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
/// Arrives, and makes the phase wait for `bytes` bytes of copies.
__device__ inline void mbar_expect_tx(uint64_t* barrier, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                   detail::address_in_shared(barrier)),
               "r"(bytes)
               : "memory");
}
/// Waits until the phase of this parity (0 for the first) is complete.
__device__ inline void mbar_wait(uint64_t* barrier, unsigned parity) {
  asm volatile(
      "{\n.reg .pred p;\nL: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@!p bra L;\n}" ::
          "r"(detail::address_in_shared(barrier)),
      "r"(parity)
      : "memory");
}
/// One thread starts the copy of the box whose first element is (row y, column x). dst is aligned
/// to 1024 bytes.
__device__ inline void tma_load_2d(void* dst, const TensorMap* map, int x, int y,
                                   uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, "
      "%4}], [%2];" ::"r"(detail::address_in_shared(dst)),
      "l"(map), "r"(detail::address_in_shared(barrier)), "r"(x), "r"(y)
      : "memory");
}

/// Descriptor of a matrix as tma_load_2d leaves it: K-major, groups of 8 rows 1024 bytes apart.
/// Adding 2 goes on by 16 elements along K.
__device__ inline uint64_t wgmma_desc_sw128(const void* p) {
  return uint64_t{(detail::address_in_shared(p) & 0x3FFFFu) >> 4} | uint64_t{1} << 16 |
         uint64_t{1024 >> 4} << 32 | uint64_t{1} << 62;
}
__device__ inline void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int kLeave>
__device__ inline void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeave) : "memory");
}

#define TESSERA_FOUR_OF(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
/// D (64 x 64, f32) += A (64 x 16, bf16) B^T (64 x 16, bf16), or = where scale_d is 0. All 128
/// threads of the warpgroup take part; thread t holds, with w = t / 32, g = t % 32 / 4 and p = t %
/// 4,
///   d[4 j + 2 h + c] = D[16 w + g + 8 h][8 j + 2 p + c]
__device__ inline void wgmma_m64n64k16_bf16(float (&d)[32], uint64_t a, uint64_t b, int scale_d) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%"
      "25,%26,%27,%28,%29,%30,%31}, %32, %33, p, 1, 1, 0, 0;\n}"
      : TESSERA_FOUR_OF(d, 0), TESSERA_FOUR_OF(d, 4), TESSERA_FOUR_OF(d, 8), TESSERA_FOUR_OF(d, 12),
        TESSERA_FOUR_OF(d, 16), TESSERA_FOUR_OF(d, 20), TESSERA_FOUR_OF(d, 24),
        TESSERA_FOUR_OF(d, 28)
      : "l"(a), "l"(b), "r"(scale_d));
}
#undef TESSERA_FOUR_OF

#else

inline TensorMap make_tensor_map_bf16(const void* base, uint64_t rows, uint64_t cols,
                                      uint32_t box_rows) {
  TESSERA_CHECK(CudaError,
                reinterpret_cast<uintptr_t>(base) % 16 == 0 && cols * 2 % 16 == 0 &&
                    box_rows >= 1 && box_rows <= 256,
                "tensor map of a matrix (", rows, ", ", cols, "), box of ", box_rows,
                " rows: base and rows must be aligned to 16 bytes, a box has 1 to 256 rows");
  return {base, rows, cols, box_rows};
}
inline void mbar_init(uint64_t* barrier, unsigned arrivals) {
  emulator::mbarrier_init(barrier, arrivals);
}
inline void mbar_expect_tx(uint64_t* barrier, unsigned bytes) {
  emulator::mbarrier_arrive(barrier, bytes);
}
inline void mbar_wait(uint64_t* barrier, unsigned parity,
                      emulator::Location where = emulator::Location::current()) {
  emulator::mbarrier_wait(barrier, parity, where);
}
inline void tma_load_2d(void* dst, const TensorMap* map, int x, int y, uint64_t* barrier) {
  emulator::start_transfer(dst, *map, x, y, barrier);
}
inline uint64_t wgmma_desc_sw128(const void* p) {
  return uint64_t{(emulator::shared_offset(p) & 0x3FFFFu) >> 4} | uint64_t{1} << 16 |
         uint64_t{1024 >> 4} << 32 | uint64_t{1} << 62;
}
inline void wgmma_fence() {}
inline void wgmma_commit() { emulator::commit_products(); }
template <int kLeave>
void wgmma_wait() {
  emulator::wait_products(kLeave);
}
inline void wgmma_m64n64k16_bf16(float (&d)[32], uint64_t a, uint64_t b, int scale_d) {
  emulator::start_product(d, a, b, scale_d);
}

#endif

}  // namespace tessera::cuda

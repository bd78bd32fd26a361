// Hopper-only wrappers (sm_90a): TMA 2-D tile load, mbarrier, wgmma m64n64k16 with 128-byte
// swizzle. Functional emulation only.
#pragma once
#include "cuda/device.h"
#if !TESSERA_CUDA_EMULATED
#include <cuda.h>
#endif
#include <cstdint>
namespace tessera::cuda {
#if !TESSERA_CUDA_EMULATED
using TensorMap = CUtensorMap;
// bf16 matrix [rows, cols] row-major, box of box_rows x 64 columns (128 bytes), 128-byte swizzle,
// zero fill outside
inline TensorMap make_tensor_map_bf16(const void* base, uint64_t rows, uint64_t cols,
                                      uint32_t box_rows) {
  void* f = nullptr;
  cudaDriverEntryPointQueryResult q;
  check(
      cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &f, 12000, cudaEnableDefault, &q),
      "cuTensorMapEncodeTiled");
  TensorMap m;
  cuuint64_t dim[2] = {cols, rows}, stride[1] = {cols * 2};
  cuuint32_t box[2] = {64, box_rows}, es[2] = {1, 1};
  if (reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(f)(
          &m, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<void*>(base), dim, stride, box, es,
          CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
          CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE))
    throw std::runtime_error("cuTensorMapEncodeTiled");
  return m;
}
__device__ inline unsigned saddr(const void* p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}
__device__ inline void mbar_init(uint64_t* b, unsigned n) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(saddr(b)), "r"(n) : "memory");
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ inline void mbar_expect_tx(uint64_t* b, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(saddr(b)), "r"(bytes)
               : "memory");
}
__device__ inline void mbar_wait(uint64_t* b, unsigned parity) {
  asm volatile(
      "{\n.reg .pred p;\nL: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@!p bra L;\n}" ::
          "r"(saddr(b)),
      "r"(parity)
      : "memory");
}
__device__ inline void tma_load_2d(void* dst, const TensorMap* m, int x, int y, uint64_t* b) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, "
      "%4}], [%2];" ::"r"(saddr(dst)),
      "l"(m), "r"(saddr(b)), "r"(x), "r"(y)
      : "memory");
}
__device__ inline uint64_t wgmma_desc_sw128(
    const void* p) {  // K-major, 8-row groups 1024 bytes apart
  return (uint64_t)((saddr(p) & 0x3FFFF) >> 4) | (uint64_t)1 << 16 | (uint64_t)(1024 >> 4) << 32 |
         (uint64_t)1 << 62;
}
__device__ inline void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int Leave>
__device__ inline void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Leave) : "memory");
}
#define TS_D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
__device__ inline void wgmma_m64n64k16_bf16(float (&d)[32], uint64_t a, uint64_t b, int scale_d) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%"
      "25,%26,%27,%28,%29,%30,%31}, %32, %33, p, 1, 1, 0, 0;\n}"
      : TS_D4(0), TS_D4(4), TS_D4(8), TS_D4(12), TS_D4(16), TS_D4(20), TS_D4(24), TS_D4(28)
      : "l"(a), "l"(b), "r"(scale_d));
}
#undef TS_D4
#else
struct TensorMap {
  const void* base;
  uint64_t rows, cols;
  uint32_t box_rows;
};
inline TensorMap make_tensor_map_bf16(const void* base, uint64_t rows, uint64_t cols,
                                      uint32_t box_rows) {
  if (reinterpret_cast<uintptr_t>(base) % 16 || cols * 2 % 16 || box_rows > 256)
    throw emulator::KernelError("tensor map: misaligned base or stride, or box too large");
  return {base, rows, cols, box_rows};
}
namespace emulator {
void mbar_init(uint64_t* b, unsigned n);
void mbar_arrive(uint64_t* b, int tx);
void mbar_wait(uint64_t* b, unsigned parity, Loc loc);
void tma_load(void* dst, const TensorMap& m, int x, int y, uint64_t* b);
unsigned smem_offset(const void* p);
void wgmma(float* d, uint64_t a, uint64_t b, int scale_d);
void wgmma_commit();
void wgmma_wait(unsigned leave);
}  // namespace emulator
inline void mbar_init(uint64_t* b, unsigned n) { emulator::mbar_init(b, n); }
inline void mbar_expect_tx(uint64_t* b, unsigned bytes) { emulator::mbar_arrive(b, int(bytes)); }
inline void mbar_wait(uint64_t* b, unsigned parity, emulator::Loc l = emulator::Loc::current()) {
  emulator::mbar_wait(b, parity, l);
}
inline void tma_load_2d(void* dst, const TensorMap* m, int x, int y, uint64_t* b) {
  emulator::tma_load(dst, *m, x, y, b);
}
inline uint64_t wgmma_desc_sw128(const void* p) {
  return (uint64_t)((emulator::smem_offset(p) & 0x3FFFF) >> 4) | (uint64_t)1 << 16 |
         (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}
inline void wgmma_fence() {}
inline void wgmma_commit() { emulator::wgmma_commit(); }
template <int Leave>
inline void wgmma_wait() {
  emulator::wgmma_wait(Leave);
}
inline void wgmma_m64n64k16_bf16(float (&d)[32], uint64_t a, uint64_t b, int scale_d) {
  emulator::wgmma(d, a, b, scale_d);
}
#endif
}  // namespace tessera::cuda

#pragma once

#include <cstdint>

#include "cuda/device.h"

/// Tensor cores and asynchronous copies to shared memory: inline PTX under nvcc, the documented
/// layouts of the registers under the emulator. All 32 lanes take part in each matrix operation.
#if TESSERA_CUDA_EMULATED
#include "cuda/emulator/async_copy.h"
#include "cuda/emulator/tensor_core.h"
#endif

namespace tessera::cuda {

#if !TESSERA_CUDA_EMULATED

namespace detail {
__device__ inline unsigned shared_address(const void* p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}
}  // namespace detail

/// D (16 x 8, f32) = A (16 x 16, bf16, rows) B (16 x 8, bf16, columns) + C. Lane l holds, with
/// g = l / 4 and t = l % 4, two bf16 a register:
///   a[0] = A[g][2t..]   a[1] = A[g+8][2t..]   a[2] = A[g][2t+8..]   a[3] = A[g+8][2t+8..]
///   b[0] = B[2t..][g]   b[1] = B[2t+8..][g]
///   c[0..1], d[0..1] = [g][2t..]   c[2..3], d[2..3] = [g+8][2t..]
__device__ inline void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4],
                                         const uint32_t (&b)[2], const float (&c)[4]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%10,%11,%12,%13};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]),
        "f"(c[2]), "f"(c[3]));
}

/// Four 8 x 8 matrices of 16-bit elements from shared memory: lane l gives the address, aligned to
/// 16 bytes, of row l % 8 of matrix l / 8; r[i] are elements 2 (l % 4) and the next of row l / 4 of
/// matrix i.
__device__ inline void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(detail::shared_address(row))
               : "memory");
}
/// The same of the transposed matrices.
__device__ inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(detail::shared_address(row))
               : "memory");
}

/// Starts a copy of the first `valid` of 16 bytes from global to shared memory, both aligned to 16
/// bytes; zeros fill the rest. With valid 0 nothing is read, but src must be a valid address.
__device__ inline void cp_async16(void* dst, const void* src, unsigned valid = 16) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(detail::shared_address(dst)),
               "l"(src), "r"(valid)
               : "memory");
}
/// Closes this thread's group of copies.
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most kLeave of this thread's groups are under way. Other threads' copies have
/// arrived after a barrier behind it.
template <int kLeave>
__device__ inline void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeave) : "memory");
}

#else

inline void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                              const float (&c)[4],
                              emulator::Location where = emulator::Location::current()) {
  const auto product =
      emulator::collective<emulator::MmaBf16Op, emulator::MmaInput, emulator::MmaOutput>(
          0xffffffffu, {a, b, c}, where);
  for (int i = 0; i < 4; ++i) d[i] = product.d[i];
}
inline void ldmatrix_x4(uint32_t (&r)[4], const void* row,
                        emulator::Location where = emulator::Location::current()) {
  emulator::load_matrix<false>(r, row, where);
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row,
                              emulator::Location where = emulator::Location::current()) {
  emulator::load_matrix<true>(r, row, where);
}
inline void cp_async16(void* dst, const void* src, unsigned valid = 16) {
  emulator::start_async_copy(dst, src, 16, valid);
}
inline void cp_async_commit() { emulator::commit_async_copies(); }
template <int kLeave>
void cp_async_wait() {
  emulator::wait_async_copies(kLeave);
}

#endif

}  // namespace tessera::cuda

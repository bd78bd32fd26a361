// Tensor-core and async-copy wrappers: inline PTX under nvcc, a warp-collective with the documented
// fragment layout under the emulator.
#pragma once
#include <cstdint>
#include "cuda/device.h"
namespace tessera::cuda {

// D(16x8,f32) = A(16x16,bf16,row) * B(16x8,bf16,col) + C.  lane l: g = l/4, t = l%4
//   a[0] = A[g][2t..2t+1]   a[1] = A[g+8][2t..]   a[2] = A[g][2t+8..]   a[3] = A[g+8][2t+8..]
//   b[0] = B[2t..2t+1][g]   b[1] = B[2t+8..2t+9][g]
//   c[0..1] = C[g][2t..2t+1]   c[2..3] = C[g+8][2t..2t+1]
#if !TESSERA_CUDA_EMULATED
__device__ inline void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4],
                                         const uint32_t (&b)[2], const float (&c)[4]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%10,%11,%12,%13};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]),
        "f"(c[2]), "f"(c[3]));
}
// Four 8x8 b16 matrices; lane l supplies the address of row l%8 of matrix l/8.
__device__ inline void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  unsigned a = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(a)
               : "memory");
}
__device__ inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
  unsigned a = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(a)
               : "memory");
}
// 16 bytes global -> shared; copies only the first `valid` bytes and zero-fills the rest.
__device__ inline void cp_async16(void* dst, const void* src, unsigned valid = 16) {
  unsigned a = static_cast<unsigned>(__cvta_generic_to_shared(dst));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(a), "l"(src), "r"(valid)
               : "memory");
}
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int Leave>
__device__ inline void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Leave) : "memory");
}
#else
namespace emulator {
inline float bf16_bits_to_f(unsigned h) { return __uint_as_float(h << 16); }
struct MmaIn {
  const uint32_t* a;
  const uint32_t* b;
  const float* c;
};
struct MmaOut {
  float d[4];
};
struct MmaBf16Op {
  TESSERA_EMULATOR_NOINSTR static void resolve(unsigned arrived, const MmaIn* const* in,
                                               MmaOut* const* out) {
    if (arrived != 0xffffffffu) fail("mma.sync needs all 32 lanes of the warp");
    float A[16][16], B[16][8];
    for (int l = 0; l < 32; l++) {
      int g = l / 4, t = l % 4;
      for (int r = 0; r < 4; r++)
        for (int h = 0; h < 2; h++)
          A[g + 8 * (r & 1)][2 * t + 8 * (r >> 1) + h] =
              bf16_bits_to_f(in[l]->a[r] >> (16 * h) & 0xffffu);
      for (int r = 0; r < 2; r++)
        for (int h = 0; h < 2; h++)
          B[2 * t + 8 * r + h][g] = bf16_bits_to_f(in[l]->b[r] >> (16 * h) & 0xffffu);
    }
    for (int l = 0; l < 32; l++) {
      int g = l / 4, t = l % 4;
      for (int i = 0; i < 4; i++) {
        float s = in[l]->c[i];
        for (int k = 0; k < 16; k++) s += A[g + 8 * (i >> 1)][k] * B[k][2 * t + (i & 1)];
        out[l]->d[i] = s;
      }
    }
  }
};
struct LdOut {
  uint32_t r[4];
};
void check_smem_read(const void* p, std::size_t n, Loc loc);
template <bool Trans>
struct LdmatrixOp {
  TESSERA_EMULATOR_NOINSTR static void resolve(unsigned arrived, const void* const* const* in,
                                               LdOut* const* out) {
    if (arrived != 0xffffffffu) fail("ldmatrix needs all 32 lanes of the warp");
    for (int m = 0; m < 4; m++)
      for (int l = 0; l < 32; l++) {
        uint16_t h[2];
        for (int e = 0; e < 2; e++) {
          int row = Trans ? 2 * (l % 4) + e : l / 4, col = Trans ? l / 4 : 2 * (l % 4) + e;
          h[e] = static_cast<const uint16_t*>(*in[8 * m + row])[col];
        }
        out[l]->r[m] = h[0] | uint32_t(h[1]) << 16;
      }
  }
};
}  // namespace emulator
inline void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                              const float (&c)[4], emulator::Loc l = emulator::Loc::current()) {
  auto o = emulator::collective<emulator::MmaBf16Op, emulator::MmaIn, emulator::MmaOut>(
      0xffffffffu, {a, b, c}, l);
  for (int i = 0; i < 4; i++) d[i] = o.d[i];
}
inline void ldmatrix_x4(uint32_t (&r)[4], const void* row,
                        emulator::Loc l = emulator::Loc::current()) {
  emulator::check_smem_read(row, 16, l);
  auto o = emulator::collective<emulator::LdmatrixOp<false>, const void*, emulator::LdOut>(
      0xffffffffu, row, l);
  for (int i = 0; i < 4; i++) r[i] = o.r[i];
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row,
                              emulator::Loc l = emulator::Loc::current()) {
  emulator::check_smem_read(row, 16, l);
  auto o = emulator::collective<emulator::LdmatrixOp<true>, const void*, emulator::LdOut>(
      0xffffffffu, row, l);
  for (int i = 0; i < 4; i++) r[i] = o.r[i];
}
inline void cp_async16(void* dst, const void* src, unsigned valid = 16) {
  emulator::cp_async(dst, src, 16, valid);
}
inline void cp_async_commit() { emulator::cp_async_commit(); }
template <int Leave>
inline void cp_async_wait() {
  emulator::cp_async_wait(Leave);
}
#endif
}  // namespace tessera::cuda

// nvcuda::wmma, the part that has an opaque layout anyway: fragments 16x16x16 of half with float
// accumulators.
#if !TESSERA_CUDA_EMULATED
#include <mma.h>
#else
namespace nvcuda::wmma {
struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t { mem_row_major, mem_col_major };
template <class Use, int M, int N, int K, class T, class L = void>
struct fragment {
  static constexpr int num_elements = 8;
  T x[8];
};
namespace detail {
// emulator's own layout: lane l holds elements 8l..8l+7 of the row-major 16x16 matrix
template <class T>
struct In {
  const T* a;
  const T* b;
  const float* c;
};
struct Out {
  float d[8];
};
template <class T>
struct MmaOp {
  TESSERA_EMULATOR_NOINSTR static void resolve(unsigned, const In<T>* const* in, Out* const* out) {
    for (int r = 0; r < 16; r++)
      for (int c = 0; c < 16; c++) {
        float s = in[r * 2 + c / 8]->c[c % 8];
        for (int k = 0; k < 16; k++)
          s += float(in[r * 2 + k / 8]->a[k % 8]) * float(in[k * 2 + c / 8]->b[c % 8]);
        out[r * 2 + c / 8]->d[c % 8] = s;
      }
  }
};
}  // namespace detail
template <class F, class V>
inline void fill_fragment(F& f, V v) {
  for (auto& x : f.x) x = v;
}
template <class Use, class T, class L>
inline void load_matrix_sync(fragment<Use, 16, 16, 16, T, L>& f, const T* p, unsigned ld) {
  if (reinterpret_cast<std::uintptr_t>(p) % 32)
    tessera::cuda::emulator::fail("load_matrix_sync: the pointer is not 256-bit aligned");
  unsigned l = tessera::cuda::emulator::lane_id(), r = l / 2, c = l % 2 * 8;
  for (unsigned i = 0; i < 8; i++)
    f.x[i] = std::is_same_v<L, col_major> ? p[(c + i) * ld + r] : p[r * ld + c + i];
}
inline void store_matrix_sync(float* p, const fragment<accumulator, 16, 16, 16, float>& f,
                              unsigned ld, layout_t lay) {
  unsigned l = tessera::cuda::emulator::lane_id(), r = l / 2, c = l % 2 * 8;
  for (unsigned i = 0; i < 8; i++)
    p[lay == mem_col_major ? (c + i) * ld + r : r * ld + c + i] = f.x[i];
}
template <class T, class LA, class LB>
inline void mma_sync(fragment<accumulator, 16, 16, 16, float>& d,
                     const fragment<matrix_a, 16, 16, 16, T, LA>& a,
                     const fragment<matrix_b, 16, 16, 16, T, LB>& b,
                     const fragment<accumulator, 16, 16, 16, float>& c,
                     tessera::cuda::emulator::Loc l = tessera::cuda::emulator::Loc::current()) {
  auto o = tessera::cuda::emulator::collective<detail::MmaOp<T>, detail::In<T>, detail::Out>(
      0xffffffffu, {a.x, b.x, c.x}, l);
  for (int i = 0; i < 8; i++) d.x[i] = o.d[i];
}
}  // namespace nvcuda::wmma
#endif

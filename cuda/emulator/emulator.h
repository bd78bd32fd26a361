// Prototype: runs CUDA kernel source on the CPU, one block at a time, one fiber per CUDA thread.
// Included by ts_device.h when the compiler is not nvcc. Nothing here needs the CUDA toolkit,
// except (optionally) cuda_fp16.h / cuda_bf16.h for the half types' host implementations.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <source_location>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "tensor/error.h"

// The part of CUDA's vector types that kernels use.
struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
inline float2 make_float2(float a, float b) { return {a, b}; }
inline float4 make_float4(float a, float b, float c, float d) { return {a, b, c, d}; }
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) alignas(n)

#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __constant__
#undef __launch_bounds__
#undef __grid_constant__
#define __global__
#define __device__
#define __host__
#define __constant__
#define __launch_bounds__(...)
#define __grid_constant__
// __shared__ is left undefined on purpose: kernels say TESSERA_SHARED / TESSERA_DYNAMIC_SHARED.

#if defined(__SANITIZE_THREAD__)
#define TESSERA_EMULATOR_NOINSTR __attribute__((no_sanitize("thread"), noinline))
#else
#define TESSERA_EMULATOR_NOINSTR
#endif

namespace tessera::cuda::emulator {

#if defined(__clang__) && __clang_major__ < 16
struct Loc {  // clang 14 cannot use libstdc++'s std::source_location
  const char* f = "";
  unsigned l = 0;
  static constexpr Loc current(const char* f = __builtin_FILE(), unsigned l = __builtin_LINE()) {
    return {f, l};
  }
  constexpr const char* file_name() const { return f; }
  constexpr unsigned line() const { return l; }
  constexpr unsigned column() const { return 0; }
};
#else
using Loc = std::source_location;
#endif

/// A fault of a kernel, or of a call of the host.
struct KernelError : CudaError {
  using CudaError::CudaError;
};

enum class Order { Forward, Reverse, DepthFirst, Random };

struct Options {
  Order order = Order::Forward;
  std::uint64_t seed = 1;
  bool poison =
      true;  // fill shared memory and fresh device memory with 0xFF (a NaN in every float type)
  bool strict_barriers =
      true;                  // different __syncthreads() sites meeting in one barrier is an error
  bool strict_exit = false;  // a barrier completing thanks to exited threads is an error
  double preempt = 0;  // check mode only: chance of a forced thread switch at each memory access
};
Options& options();  // of this OS thread

struct Stats {
  std::uint64_t launches = 0, blocks = 0, threads = 0, switches = 0, barriers = 0, collectives = 0,
                accesses = 0;
};
Stats& stats();

// ---- device memory: one guarded arena; outside kernels (and emulator::memcpy) it is not
// accessible at all ----
void* device_malloc(std::size_t bytes, std::size_t granule = 4);
void device_free(void* p);
void copy_in(void* dev, const void* host, std::size_t bytes);
void copy_out(void* host, const void* dev,
              std::size_t bytes);  // check mode: throws when a byte was never written
void device_memset(void* dev, int v, std::size_t bytes);
void copy_within(void* to, const void* from, std::size_t bytes);
void mark_written(void* dev, std::size_t bytes);  // library calls that fill memory behind our back

// ---- launches ----
void run_grid(dim3 grid, dim3 block, std::size_t dyn_smem, void (*thunk)(void*), void* ctx,
              const void* fn, Loc loc);
void allow_dynamic_smem(const void* fn, std::size_t bytes);

// ---- what kernels call (through the CUDA names below) ----
void block_barrier(int id, int count, Loc loc);       // count 0: every live thread of the block
int block_barrier_reduce(int op, int pred, Loc loc);  // 0 count, 1 and, 2 or

struct WarpGroup {
  unsigned mask = 0, arrived = 0;
  const void* key = nullptr;
  const void* in[32];
  void* out[32];
};
// Blocks until every live lane of `mask` called it with the same key; the last one runs resolve for
// all.
void warp_collective(unsigned mask, const void* key, const void* in, void* out,
                     void (*resolve)(WarpGroup&), bool orders_memory, Loc loc);
unsigned lane_id();

void* dyn_smem();
// The running block's variable of that site, made when its first thread asks.
void* static_smem(const void* site, std::size_t bytes, std::size_t align, std::size_t granule,
                  const char* name);

void note_atomic(const void* p, std::size_t bytes);
[[noreturn]] void fail(std::string what);

// cp.async
void cp_async(void* dst, const void* src, unsigned bytes, unsigned src_bytes);
void cp_async_commit();
void cp_async_wait(unsigned leave);

// A shared variable in a kernel's source. Not thread_local: a plug-in has hundreds of them, more
// than fit the room that the loader keeps for thread_local variables of libraries.
template <class T, std::size_t Align = alignof(T)>
struct SharedSite {
  char address = 0;
  TESSERA_EMULATOR_NOINSTR T& get(const char* name) const {
    return *static_cast<T*>(
        static_smem(this, sizeof(T), Align, sizeof(std::remove_all_extents_t<T>), name));
  }
};

template <class Op, class In, class Out>
Out collective(unsigned mask, const In& in, Loc loc, bool orders = false) {
  static const char key = 0;
  Out out;
  warp_collective(
      mask, &key, &in, &out,
      [](WarpGroup& g) TESSERA_EMULATOR_NOINSTR {
        const In* in[32];
        Out* out[32];
        for (int i = 0; i < 32; i++)
          in[i] = static_cast<const In*>(g.in[i]), out[i] = static_cast<Out*>(g.out[i]);
        Op::resolve(g.arrived, in, out);
      },
      orders, loc);
  return out;
}

template <class T>
struct ShflIn {
  T v;
  int src;
  int width;
};
enum class ShflKind { Idx, Up, Down, Xor };
template <class T, ShflKind K>
struct ShflOp {
  TESSERA_EMULATOR_NOINSTR static void resolve(unsigned arrived, const ShflIn<T>* const* in,
                                               T* const* out) {
    for (int l = 0; l < 32; l++) {
      if (!(arrived >> l & 1)) continue;
      int w = in[l]->width, base = l & ~(w - 1), s = in[l]->src, src;
      if (K == ShflKind::Idx)
        src = base + (s & (w - 1));
      else if (K == ShflKind::Up)
        src = (l - s) < base ? l : l - s;
      else if (K == ShflKind::Down)
        src = (l + s) >= base + w ? l : l + s;
      else
        src = (l ^ s) >= base + w ? l : (l ^ s);
      if (arrived >> src & 1)
        *out[l] = in[src]->v;
      else
        std::memset((void*)out[l], 0xFF, sizeof(T));  // undefined on the GPU: hand out poison
    }
  }
};
struct BallotOp {
  TESSERA_EMULATOR_NOINSTR static void resolve(unsigned arrived, const int* const* in,
                                               unsigned* const* out) {
    unsigned b = 0;
    for (int l = 0; l < 32; l++)
      if (arrived >> l & 1 && *in[l]) b |= 1u << l;
    for (int l = 0; l < 32; l++)
      if (arrived >> l & 1) *out[l] = b;
  }
};
struct SyncOp {
  static void resolve(unsigned, const int* const*, int* const*) {}
};

// ---- per-thread device buffers for tests ----
template <class T>
struct DeviceBuffer {
  T* p;
  std::size_t n;
  explicit DeviceBuffer(std::size_t n)
      : p(static_cast<T*>(device_malloc(n * sizeof(T), sizeof(T)))), n(n) {}
  template <class V>
  requires requires(const V& v) { v.data(); }
  explicit DeviceBuffer(const V& v) : DeviceBuffer(v.size()) {
    copy_in(p, v.data(), n * sizeof(T));
  }
  DeviceBuffer(const DeviceBuffer&) = delete;
  ~DeviceBuffer() { device_free(p); }
  void download(T* h) const { copy_out(h, p, n * sizeof(T)); }
};

}  // namespace tessera::cuda::emulator

// ---- CUDA names ----
inline constinit thread_local uint3 threadIdx{0, 0, 0};
inline constinit thread_local uint3 blockIdx{0, 0, 0};
inline constinit thread_local dim3 blockDim{1, 1, 1};
inline constinit thread_local dim3 gridDim{1, 1, 1};
inline constexpr int warpSize = 32;

inline void __syncthreads(
    tessera::cuda::emulator::Loc l = tessera::cuda::emulator::Loc::current()) {
  tessera::cuda::emulator::block_barrier(0, 0, l);
}
inline int __syncthreads_count(
    int p, tessera::cuda::emulator::Loc l = tessera::cuda::emulator::Loc::current()) {
  return tessera::cuda::emulator::block_barrier_reduce(0, p, l);
}
inline int __syncthreads_and(
    int p, tessera::cuda::emulator::Loc l = tessera::cuda::emulator::Loc::current()) {
  return tessera::cuda::emulator::block_barrier_reduce(1, p, l);
}
inline int __syncthreads_or(
    int p, tessera::cuda::emulator::Loc l = tessera::cuda::emulator::Loc::current()) {
  return tessera::cuda::emulator::block_barrier_reduce(2, p, l);
}
inline void __syncwarp(unsigned m = 0xffffffffu,
                       tessera::cuda::emulator::Loc l = tessera::cuda::emulator::Loc::current()) {
  tessera::cuda::emulator::collective<tessera::cuda::emulator::SyncOp, int, int>(m, 0, l, true);
}
#define TESSERA_EMULATOR_SHFL(NAME, KIND)                                                   \
  template <class T>                                                                        \
  inline T NAME(unsigned m, T v, int s, int w = 32,                                         \
                tessera::cuda::emulator::Loc l = tessera::cuda::emulator::Loc::current()) { \
    return tessera::cuda::emulator::collective<                                             \
        tessera::cuda::emulator::ShflOp<T, tessera::cuda::emulator::ShflKind::KIND>,        \
        tessera::cuda::emulator::ShflIn<T>, T>(m, {v, s, w}, l);                            \
  }
TESSERA_EMULATOR_SHFL(__shfl_sync, Idx)
TESSERA_EMULATOR_SHFL(__shfl_up_sync, Up)
TESSERA_EMULATOR_SHFL(__shfl_down_sync, Down)
TESSERA_EMULATOR_SHFL(__shfl_xor_sync, Xor)
#undef TESSERA_EMULATOR_SHFL
inline unsigned __ballot_sync(
    unsigned m, int p, tessera::cuda::emulator::Loc l = tessera::cuda::emulator::Loc::current()) {
  return tessera::cuda::emulator::collective<tessera::cuda::emulator::BallotOp, int, unsigned>(m, p,
                                                                                               l);
}
inline int __any_sync(unsigned m, int p,
                      tessera::cuda::emulator::Loc l = tessera::cuda::emulator::Loc::current()) {
  return __ballot_sync(m, p, l) != 0;
}
inline int __all_sync(unsigned m, int p,
                      tessera::cuda::emulator::Loc l = tessera::cuda::emulator::Loc::current()) {
  return __ballot_sync(m, !p, l) == 0;
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// Atomics: blocks run one after another and threads switch only at barriers, so plain updates are
// atomic.
#define TESSERA_EMULATOR_ATOMIC(NAME, EXPR)                          \
  template <class T>                                                 \
  TESSERA_EMULATOR_NOINSTR T NAME(T* p, std::type_identity_t<T> v) { \
    tessera::cuda::emulator::note_atomic(p, sizeof(T));              \
    T old = *p;                                                      \
    *p = (EXPR);                                                     \
    return old;                                                      \
  }
TESSERA_EMULATOR_ATOMIC(atomicAdd, static_cast<T>(old + v))
TESSERA_EMULATOR_ATOMIC(atomicSub, static_cast<T>(old - v))
TESSERA_EMULATOR_ATOMIC(atomicExch, v)
TESSERA_EMULATOR_ATOMIC(atomicMin, v < old ? v : old)
TESSERA_EMULATOR_ATOMIC(atomicMax, old < v ? v : old)
TESSERA_EMULATOR_ATOMIC(atomicOr, static_cast<T>(old | v))
TESSERA_EMULATOR_ATOMIC(atomicAnd, static_cast<T>(old& v))
TESSERA_EMULATOR_ATOMIC(atomicXor, static_cast<T>(old ^ v))
#undef TESSERA_EMULATOR_ATOMIC
template <class T>
TESSERA_EMULATOR_NOINSTR T atomicCAS(T* p, std::type_identity_t<T> cmp, std::type_identity_t<T> v) {
  tessera::cuda::emulator::note_atomic(p, sizeof(T));
  T old = *p;
  if (old == cmp) *p = v;
  return old;
}

template <class T>
inline T __ldg(const T* p) {
  return *p;
}
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __float_as_uint(float f) {
  unsigned u;
  std::memcpy(&u, &f, 4);
  return u;
}
inline float __uint_as_float(unsigned u) {
  float f;
  std::memcpy(&f, &u, 4);
  return f;
}
template <class A, class B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  using C = std::common_type_t<A, B>;
  return C(b) < C(a) ? C(b) : C(a);
}
template <class A, class B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  using C = std::common_type_t<A, B>;
  return C(a) < C(b) ? C(b) : C(a);
}

#define TESSERA_SHARED(T, name, ...)                                                    \
  static constinit ::tessera::cuda::emulator::SharedSite<T __VA_ARGS__> name##_ts_site; \
  auto& name = name##_ts_site.get(#name)
#define TESSERA_SHARED_ALIGNED(A, T, name, ...)                                            \
  static constinit ::tessera::cuda::emulator::SharedSite<T __VA_ARGS__, A> name##_ts_site; \
  auto& name = name##_ts_site.get(#name)
#define TESSERA_DYNAMIC_SHARED(T, name) \
  T* const name = static_cast<T*>(::tessera::cuda::emulator::dyn_smem())

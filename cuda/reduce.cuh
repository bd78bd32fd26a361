#pragma once

#include <type_traits>

#include "cuda/device.h"
#include "tensor/macros.h"

/// Reductions within a warp and a block, in a fixed order: the same bits every time.
namespace tessera::cuda {

inline constexpr unsigned kFullWarp = 0xffffffffu;

/// The value of lane (this lane ^ mask). T is any trivially copyable type. All 32 lanes take part.
template <class T>
__device__ __forceinline__ T shuffle_xor(const T& v, int mask) {
  static_assert(std::is_trivially_copyable_v<T>);
#if TESSERA_CUDA_EMULATED
  return __shfl_xor_sync(kFullWarp, v, mask);
#else
  constexpr int kWords = (sizeof(T) + 3) / 4;
  unsigned words[kWords] = {};
  memcpy(words, &v, sizeof(T));
  TESSERA_UNROLL
  for (int i = 0; i < kWords; ++i) words[i] = __shfl_xor_sync(kFullWarp, words[i], mask);
  T out;
  memcpy(&out, words, sizeof(T));
  return out;
#endif
}

/// op over the 32 lanes, in every lane. op is commutative and associative but for rounding.
template <class T, class Op>
__device__ __forceinline__ T warp_reduce(T v, const Op& op) {
  TESSERA_UNROLL
  for (int mask = 16; mask > 0; mask /= 2) v = op(v, shuffle_xor(v, mask));
  return v;
}

/// op over the threads of a one-dimensional block of whole warps, in every thread. scratch: one T
/// per warp in shared memory, free again when this returns. Every thread of the block calls it.
template <class T, class Op>
__device__ __forceinline__ T block_reduce(T v, const Op& op, T* scratch) {
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  v = warp_reduce(v, op);
  if (warps == 1) return v;
  if (lane == 0) scratch[warp] = v;
  __syncthreads();
  v = scratch[0];
  for (unsigned i = 1; i < warps; ++i) v = op(v, scratch[i]);
  __syncthreads();
  return v;
}

/// op over groups of `width` neighbouring threads (a power of two, at most the block's size) of a
/// one-dimensional block of whole warps, in every thread; the same bits in all of them where op is
/// commutative. scratch: one T per warp in shared memory, free again when this returns. Every
/// thread of the block calls it.
template <class T, class Op>
__device__ __forceinline__ T group_reduce(T v, int width, const Op& op, T* scratch) {
  for (int mask = (width < 32 ? width : 32) / 2; mask > 0; mask /= 2)
    v = op(v, shuffle_xor(v, mask));
  if (width <= 32) return v;
  const int warp = static_cast<int>(threadIdx.x) / 32, warps = width / 32;
  const int first = warp - warp % warps;
  if (threadIdx.x % 32 == 0) scratch[warp] = v;
  __syncthreads();
  v = scratch[first];
  for (int i = 1; i < warps; ++i) v = op(v, scratch[first + i]);
  __syncthreads();
  return v;
}

struct SumOp {
  template <class T>
  TESSERA_HD T operator()(T a, T b) const {
    return a + b;
  }
};
/// The larger; NaN if either is.
struct MaxOp {
  template <class T>
  TESSERA_HD T operator()(T a, T b) const {
    return a > b || a != a ? a : b;
  }
};
struct MinOp {
  template <class T>
  TESSERA_HD T operator()(T a, T b) const {
    return a < b || a != a ? a : b;
  }
};

}  // namespace tessera::cuda

#pragma once

#include "cuda/reduce.cuh"

/// Running sums within a block, in a fixed order: the same bits every time.
namespace tessera::cuda {

template <class T>
struct BlockScan {
  T before, total;
};

/// The sum of v over the threads in front of this one, and over all, of a one-dimensional block of
/// whole warps, 1024 threads at most. T is a 32 or 64-bit number. scratch: one T per warp in shared
/// memory, free again when this returns. Every thread of the block calls it.
template <class T>
__device__ __forceinline__ BlockScan<T> block_scan(T v, T* scratch) {
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  T sum = v;
  TESSERA_UNROLL
  for (unsigned step = 1; step < 32; step *= 2) {
    const T below = __shfl_up_sync(kFullWarp, sum, step);
    if (lane >= step) sum += below;
  }
  const T left = __shfl_up_sync(kFullWarp, sum, 1);
  if (lane == 31) scratch[warp] = sum;
  __syncthreads();
  T before = 0, total = 0;
  for (unsigned i = 0; i < warps; ++i) {
    if (i == warp) before = total;
    total += scratch[i];
  }
  __syncthreads();
  return {lane == 0 ? before : before + left, total};
}

}  // namespace tessera::cuda

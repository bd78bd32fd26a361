#pragma once

#include "cuda/emulator/cuda_types.h"
#include "cuda/emulator/location.h"

/// A thread's place in its block and grid, and the block's barriers.
namespace tessera::cuda::emulator {

struct Builtins {
  uint3 thread{0, 0, 0}, block{0, 0, 0};
  dim3 block_size, grid_size;
};
// Not thread_local: launches follow one another, and one thread runs all of a launch.
inline constinit Builtins builtins;

/// All threads of the block that have not left the kernel.
void block_barrier(Location where);
/// How many of them passed a predicate that is not 0.
int block_barrier_count(int predicate, Location where);

}  // namespace tessera::cuda::emulator

inline constexpr const uint3& threadIdx = tessera::cuda::emulator::builtins.thread;
inline constexpr const uint3& blockIdx = tessera::cuda::emulator::builtins.block;
inline constexpr const dim3& blockDim = tessera::cuda::emulator::builtins.block_size;
inline constexpr const dim3& gridDim = tessera::cuda::emulator::builtins.grid_size;
inline constexpr int warpSize = 32;

inline void __syncthreads(
    tessera::cuda::emulator::Location where = tessera::cuda::emulator::Location::current()) {
  tessera::cuda::emulator::block_barrier(where);
}
inline int __syncthreads_count(int predicate, tessera::cuda::emulator::Location where =
                                                  tessera::cuda::emulator::Location::current()) {
  return tessera::cuda::emulator::block_barrier_count(predicate, where);
}
inline int __syncthreads_or(int predicate, tessera::cuda::emulator::Location where =
                                               tessera::cuda::emulator::Location::current()) {
  return tessera::cuda::emulator::block_barrier_count(predicate, where) != 0;
}
inline int __syncthreads_and(int predicate, tessera::cuda::emulator::Location where =
                                                tessera::cuda::emulator::Location::current()) {
  return tessera::cuda::emulator::block_barrier_count(!predicate, where) == 0;
}

// Threads run one at a time, so memory is always in order.
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}

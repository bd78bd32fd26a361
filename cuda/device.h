#pragma once

/// What a kernel's source file includes. nvcc compiles it for GPUs; any other C++20 compiler
/// compiles the same source against the emulator (cuda/emulator), which runs it on the CPU. Kernels
/// use CUDA's own names, but for what a compiler of host code cannot express:
///
///   TESSERA_SHARED(float, tile, [64][65]);              __shared__ float tile[64][65]
///   TESSERA_SHARED_ALIGNED(16, float, tile, [64][68]);  the same, aligned
///   TESSERA_DYNAMIC_SHARED(float, rows);                float* rows: the launch's shared_bytes
///   TESSERA_UNROLL                                      #pragma unroll, before a loop
///   TESSERA_UNROLL_BY(4)                                #pragma unroll 4
///
/// Warp operations name their mask; inline PTX lives in the wrappers of cuda/tensor_core.h alone.
#if defined(__CUDACC__)

#include <cuda_runtime.h>

#include <cstdint>

#define TESSERA_CUDA_EMULATED 0
#define TESSERA_UNROLL _Pragma("unroll")
#define TESSERA_PRAGMA(text) _Pragma(#text)
#define TESSERA_UNROLL_BY(n) TESSERA_PRAGMA(unroll n)
#define TESSERA_SHARED(T, name, ...) __shared__ T name __VA_ARGS__
#define TESSERA_SHARED_ALIGNED(A, T, name, ...) \
  __shared__ __align__(A)                       \
  T name __VA_ARGS__
#define TESSERA_DYNAMIC_SHARED(T, name)                                     \
  extern __shared__ __align__(128) unsigned char tessera_dynamic_shared_[]; \
  T* const name = reinterpret_cast<T*>(tessera_dynamic_shared_)

#else

#define TESSERA_CUDA_EMULATED 1
#define TESSERA_UNROLL
#define TESSERA_UNROLL_BY(n)

#include "cuda/emulator/emulator.h"

#endif

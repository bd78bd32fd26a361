#pragma once

#include <cstdint>

#include "cuda/device.h"
#include "cuda/runtime.h"
#include "tensor/error.h"

namespace tessera::cuda {

/// Grid and block of a launch, and the bytes of its dynamic shared memory.
struct LaunchConfig {
  dim3 grid, block;
  size_t shared_bytes = 0;
#if TESSERA_CUDA_EMULATED
  emulator::Location where = emulator::Location::current();
#endif
};

/// Blocks that share `count` units of work, `per_block` each; not more than fills a large GPU many
/// times over, so the kernel strides over the rest. Throws ValueError for a negative count.
inline unsigned grid_for(int64_t count, int64_t per_block, int64_t limit = 1 << 16) {
  const int64_t blocks = (count + per_block - 1) / per_block;
  return static_cast<unsigned>(blocks < 1 ? 1 : blocks < limit ? blocks : limit);
}

#if TESSERA_CUDA_EMULATED

template <class... P, class... A>
void launch(void (*kernel)(P...), const LaunchConfig& config, A&&... args) {
  static_assert(sizeof...(P) == sizeof...(A), "launch: wrong number of kernel arguments");
  auto body = [&]() TESSERA_EMULATOR_UNCHECKED { kernel(static_cast<P>(args)...); };
  const void* const pointers[] = {emulator::address_in(args)..., nullptr};
  emulator::run_grid(
      {config.grid, config.block, config.shared_bytes,
       [](void* call) TESSERA_EMULATOR_UNCHECKED { (*static_cast<decltype(body)*>(call))(); },
       &body, reinterpret_cast<const void*>(kernel), config.where, pointers, sizeof...(A)});
}

/// Lets a kernel take more than 48 KiB of dynamic shared memory.
template <class... P>
void allow_dynamic_shared(void (*kernel)(P...), size_t bytes) {
  emulator::allow_dynamic_smem(reinterpret_cast<const void*>(kernel), bytes);
}

#else

namespace detail {
/// Throws CudaError unless the launch of `kernel` went well; with TESSERA_SYNC=1 it waits for the
/// kernel, so that its own faults are seen too.
void check_launch(cudaError_t status, const void* kernel);
}  // namespace detail

/// Queues kernel<<<grid, block>>>(args...) on the current stream. Throws CudaError.
template <class... P, class... A>
void launch(void (*kernel)(P...), const LaunchConfig& config, A&&... args) {
  static_assert(sizeof...(P) == sizeof...(A), "launch: wrong number of kernel arguments");
  cudaLaunchConfig_t c{};
  c.gridDim = config.grid;
  c.blockDim = config.block;
  c.dynamicSmemBytes = config.shared_bytes;
  c.stream = current_stream();
  detail::check_launch(cudaLaunchKernelEx(&c, kernel, static_cast<P>(args)...),
                       reinterpret_cast<const void*>(kernel));
}

/// Lets a kernel take more than 48 KiB of dynamic shared memory.
template <class... P>
void allow_dynamic_shared(void (*kernel)(P...), size_t bytes) {
  detail::check_launch(
      cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                           cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
      reinterpret_cast<const void*>(kernel));
}

#endif

}  // namespace tessera::cuda

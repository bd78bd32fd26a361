#pragma once

#include <cstddef>

#include "cuda/emulator/cuda_types.h"
#include "cuda/emulator/device_memory.h"
#include "cuda/emulator/location.h"

/// What cuda/launch.h calls.
namespace tessera::cuda::emulator {

/// A launch: `thunk(call)` is what each CUDA thread runs.
struct Grid {
  dim3 grid, block;
  size_t shared_bytes;
  void (*thunk)(void*);
  void* call;
  const void* kernel;  // for reports, and for allow_dynamic_smem()
  Location where;
  // Arguments that are pointers, others nullptr: the memory that the kernel will certainly touch.
  const void* const* arguments;
  size_t argument_count;
};

/// Runs the kernel; it is done when this returns. Throws KernelError where the launch breaks CUDA's
/// limits or the kernel fails, naming kernel, block, thread and line.
void run_grid(const Grid& grid);

/// Lets a kernel take more than 48 KiB of dynamic shared memory, at most 227 KiB.
void allow_dynamic_smem(const void* kernel, size_t bytes);

template <class T>
const void* address_in(const T&) {
  return nullptr;
}
template <class T>
const void* address_in(T* const& pointer) {
  return reinterpret_cast<const void*>(pointer);
}

}  // namespace tessera::cuda::emulator

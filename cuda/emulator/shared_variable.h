#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "cuda/emulator/cuda_types.h"

/// __shared__ variables. A plain `static` could be neither found nor filled with NaN nor guarded.
namespace tessera::cuda::emulator {

/// Counts blocks over all launches.
uint64_t block_serial();
/// Cuts a variable from the block's shared memory. `element`: bytes of its smallest parts.
void* allocate_shared(size_t bytes, size_t alignment, size_t element, const char* name);
/// The launch's dynamic shared memory.
void* dynamic_shared();

/// Where a kernel declares a variable: the first thread of each block to come here cuts it.
template <class T, size_t kAlignment = alignof(T)>
struct SharedVariable {
  uint64_t serial = 0;
  void* memory = nullptr;

  TESSERA_EMULATOR_UNCHECKED T& get(const char* name) {
    if (serial != block_serial()) {
      memory = allocate_shared(sizeof(T), std::max(kAlignment, alignof(T)),
                               sizeof(std::remove_all_extents_t<T>), name);
      serial = block_serial();
    }
    return *static_cast<T*>(memory);
  }
};

}  // namespace tessera::cuda::emulator

#define TESSERA_SHARED(T, name, ...)                                                     \
  static ::tessera::cuda::emulator::SharedVariable<T __VA_ARGS__> name##_tessera_shared; \
  auto& name = name##_tessera_shared.get(#name)
#define TESSERA_SHARED_ALIGNED(A, T, name, ...)                                             \
  static ::tessera::cuda::emulator::SharedVariable<T __VA_ARGS__, A> name##_tessera_shared; \
  auto& name = name##_tessera_shared.get(#name)
#define TESSERA_DYNAMIC_SHARED(T, name) \
  T* const name = static_cast<T*>(::tessera::cuda::emulator::dynamic_shared())

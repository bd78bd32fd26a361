#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/emulator/machine.h"

/// Check mode: the kernels are compiled with -fsanitize=thread, whose calls come here instead of to
/// ThreadSanitizer. Of every 4 bytes of shared and device memory, or less where accesses are finer,
/// it is known whether they were written, and who touched them since the last barrier.
///
/// Two accesses of which one writes are a race unless a block barrier lies between them, or a
/// __syncwarp() of both lanes, or both are atomic; and always when they are of different blocks of
/// one launch.
namespace tessera::cuda::emulator {

enum class Access : uint8_t { read, write, atomic };

/// Fails the launch unless the access is sound. `instruction`: behind the access.
void check_access(const void* address, size_t bytes, Access access, const void* instruction);

/// For the runtime's own accesses on behalf of a kernel; nothing outside of check mode.
inline void check_on_behalf(const void* address, size_t bytes, Access access,
                            const void* instruction) {
  if constexpr (kCheck) check_access(address, bytes, access, instruction);
}

/// Marks shared memory as the target of a copy under way, or as arrived.
void set_in_flight(Machine& m, const void* shared, size_t bytes, bool in_flight);
/// Marks memory as written by the runtime, in order with everything.
void set_written(Cells& cells, size_t offset, size_t bytes);

}  // namespace tessera::cuda::emulator

#pragma once

#include <cstddef>

/// Memory of the emulated GPU, for the host. It has a guard page behind each allocation and, where
/// sizes allow it, directly behind its last byte; fresh memory holds NaN; freed memory is not
/// handed out again for a while. Outside of kernels and of the copies below nobody may touch it:
/// host code that does faults as it would on a GPU, with a line on stderr that says so
/// (TESSERA_EMULATOR_HOST_GUARD=off lets it pass).
///
/// All calls may come from any thread; copies and launches follow one another.
namespace tessera::cuda::emulator {

/// Aligned to 256 bytes; nullptr when the device is full.
void* device_malloc(size_t bytes);
/// Throws KernelError unless `pointer` is nullptr or a live allocation.
void device_free(void* pointer);

/// Each range must lie within one live allocation: KernelError. In check mode copy_out throws when
/// some of the bytes were never written.
void copy_in(void* device, const void* host, size_t bytes);
void copy_out(void* host, const void* device, size_t bytes);
void copy_within(void* to, const void* from, size_t bytes);
void device_memset(void* device, int value, size_t bytes);

/// For libraries that write memory behind the checker's back.
void mark_written(void* device, size_t bytes);

/// Free and total bytes of the device.
void memory_info(size_t& free, size_t& total);

}  // namespace tessera::cuda::emulator

#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/device.h"

namespace tessera {

/// What an allocator holds, in bytes.
struct MemoryStats {
  int64_t live = 0;                ///< handed out now
  int64_t cached = 0;              ///< held for reuse
  int64_t peak = 0;                ///< largest `live` since the last reset_peak()
  int64_t limit = 0;               ///< live + cached may not pass this; 0 is unlimited
  int64_t allocations = 0;         ///< requests served so far
  int64_t system_allocations = 0;  ///< requests that went to the system
};

/// Memory of one device. Blocks are at least 64-byte aligned. Thread-safe.
class Allocator {
 public:
  virtual ~Allocator() = default;
  /// Returns nullptr for zero bytes. Throws OutOfMemoryError with request, live, cached, peak and
  /// limit after trimming the cache has not helped.
  virtual void* allocate(size_t bytes) = 0;
  /// `bytes` is the size that was asked for.
  virtual void deallocate(void* pointer, size_t bytes) noexcept = 0;
  virtual MemoryStats stats() const = 0;
  virtual void reset_peak() = 0;
  /// Returns all cached memory to the system, of the CPU's whole pages.
  virtual void trim() = 0;
  virtual void set_limit(int64_t bytes) = 0;
};

/// The allocator of a device; DeviceError when that device has not been registered.
Allocator& allocator(Device device);
/// Called once by a device back end when it is loaded.
void register_allocator(Device device, Allocator* allocator);

/// Caching CPU allocator. Freed blocks are kept for reuse: small ones by size class, those from 32
/// KiB on joined with their free neighbours and cut anew, on huge pages where the system has them.
/// Limit from TESSERA_MEMORY_LIMIT (bytes; ValueError on first use when it is not a number).
Allocator& cpu_allocator();

}  // namespace tessera

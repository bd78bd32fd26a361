#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

/// Copies and products that a thread starts and waits for. Until then their targets hold NaN, and
/// the checker forbids to touch them.
namespace tessera::cuda::emulator {

/// cp.async: copies `valid` of `bytes` bytes from global to shared memory, zeros behind them.
void start_async_copy(void* target, const void* source, unsigned bytes, unsigned valid);
void commit_async_copies();
/// Waits until at most `leave` groups are under way.
void wait_async_copies(unsigned leave);

/// A thread's copies under way.
struct AsyncCopies {
  struct Copy {
    std::byte* target;
    const std::byte* source;
    unsigned bytes, valid, group;
  };
  std::vector<Copy> pending;
  unsigned group = 0;  // that copies join now
};

/// A thread's wgmma operations under way.
struct MatrixOperations {
  struct Product {
    float* d;
    uint64_t a, b;  // descriptors
    int scale_d;
    unsigned group;
  };
  std::vector<Product> pending;
  std::map<float*, std::vector<float>> accumulators;  // their values; the registers hold NaN
  unsigned group = 0;
};

}  // namespace tessera::cuda::emulator

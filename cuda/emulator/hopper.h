#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cuda/emulator/location.h"

/// What cuda/hopper.h is on the emulator: mbarriers, two-dimensional copies of the TMA, wgmma.
namespace tessera::cuda {

/// A bf16 matrix (rows, cols), row-major, of which boxes of box_rows x 64 are copied.
struct TensorMap {
  const void* base;
  uint64_t rows, cols;
  uint32_t box_rows;
};

namespace emulator {

void mbarrier_init(uint64_t* barrier, unsigned arrivals);
void mbarrier_arrive(uint64_t* barrier, unsigned expected_bytes);
void mbarrier_wait(uint64_t* barrier, unsigned parity, Location where);

void start_transfer(void* target, const TensorMap& map, int x, int y, uint64_t* barrier);

/// Copies of the TMA under way, and who waits at an mbarrier. They are carried out, in any order,
/// when no thread can run: a kernel that does not wait sees NaN.
struct Transfers {
  struct Transfer {
    std::byte* target;
    TensorMap map;
    int x, y;
    uint64_t* barrier;
  };
  std::vector<Transfer> pending;
  std::vector<uint16_t> waiting;
};

/// Address within the block's shared memory, as matrix descriptors hold it.
unsigned shared_offset(const void* address);

/// d (64 x 64 of a warpgroup, 32 values a thread) += a * b, or = without scale_d.
void start_product(float* d, uint64_t a, uint64_t b, int scale_d);
void commit_products();
void wait_products(unsigned leave);

}  // namespace emulator
}  // namespace tessera::cuda

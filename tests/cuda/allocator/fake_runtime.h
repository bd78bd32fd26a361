#pragma once

#include <cstddef>

namespace tessera::cuda::testing {

/// The runtime that the caching allocator's test runs on: a device that is not emulated, of a few
/// megabytes.
struct FakeDevice {
  size_t total = 0, used = 0;
  int allocations = 0, synchronized = 0;
};
FakeDevice& fake_device();

}  // namespace tessera::cuda::testing

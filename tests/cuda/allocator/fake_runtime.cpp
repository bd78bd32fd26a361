#include "tests/cuda/allocator/fake_runtime.h"

#include <cstdlib>
#include <map>

#include "cuda/runtime.h"

namespace tessera::cuda {

testing::FakeDevice& testing::fake_device() {
  static FakeDevice device;
  return device;
}

namespace {
std::map<void*, size_t> sizes;
}  // namespace

void* device_malloc(size_t bytes) {
  testing::FakeDevice& device = testing::fake_device();
  if (device.used + bytes > device.total) return nullptr;
  void* memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  device.used += sizes[memory] = bytes;
  ++device.allocations;
  return memory;
}
void device_free(void* pointer) {
  testing::fake_device().used -= sizes.at(pointer);
  sizes.erase(pointer);
  std::free(pointer);
}
void memory_info(size_t& free, size_t& total) {
  total = testing::fake_device().total;
  free = total - testing::fake_device().used;
}
int current_device() { return 0; }
void set_device(int) {}
void synchronize() { ++testing::fake_device().synchronized; }
bool emulated() { return false; }

}  // namespace tessera::cuda

#include "tensor/allocator.h"

#include <pthread.h>
#include <sys/mman.h>

#include <array>
#include <bit>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

#include "tensor/error.h"

namespace tessera {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kLargest = size_t{1} << 62;  // what can be counted in int64_t, rounded up
constexpr int kMaxDevices = 16;

// Rounds up to one of eight steps per power of two: at most 12.5 % is wasted.
size_t size_class(size_t bytes) {
  if (bytes <= 512) return (bytes + kAlignment - 1) & ~(kAlignment - 1);
  const size_t step = std::bit_floor(bytes - 1) / 8;
  return (bytes + step - 1) / step * step;
}

class CachingCpuAllocator final : public Allocator {
 public:
  CachingCpuAllocator() {
    if (const char* text = std::getenv("TESSERA_MEMORY_LIMIT")) {
      const char* end = text + std::strlen(text);
      const auto [stop, error] = std::from_chars(text, end, stats_.limit);
      TESSERA_CHECK(ValueError, error == std::errc() && stop == end && stats_.limit >= 0,
                    "TESSERA_MEMORY_LIMIT must be a whole number of bytes (0: no limit), got '",
                    text, "'");
    }
  }

  // A child made by fork() must not inherit the lock from a thread that it does not have.
  void before_fork() { mutex_.lock(); }
  void after_fork() { mutex_.unlock(); }

  void* allocate(size_t bytes) override {
    if (bytes == 0) return nullptr;
    std::lock_guard lock(mutex_);
    if (bytes > kLargest) throw_out_of_memory(bytes);
    const size_t size = size_class(bytes);
    ++stats_.allocations;
    auto& bin = bins_[size];
    void* pointer = nullptr;
    if (!bin.empty()) {
      pointer = bin.back();
      bin.pop_back();
      stats_.cached -= static_cast<int64_t>(size);
    } else {
      pointer = allocate_from_system(size, bytes);
    }
    stats_.live += static_cast<int64_t>(size);
    stats_.peak = std::max(stats_.peak, stats_.live);
    return pointer;
  }

  void deallocate(void* pointer, size_t bytes) noexcept override {
    if (!pointer) return;
    const size_t size = size_class(bytes);
    std::lock_guard lock(mutex_);
    stats_.live -= static_cast<int64_t>(size);
    try {
      bins_[size].push_back(pointer);
      stats_.cached += static_cast<int64_t>(size);
    } catch (...) {
      std::free(pointer);
    }
  }

  MemoryStats stats() const override {
    std::lock_guard lock(mutex_);
    return stats_;
  }
  void reset_peak() override {
    std::lock_guard lock(mutex_);
    stats_.peak = stats_.live;
  }
  void trim() override {
    std::lock_guard lock(mutex_);
    trim_locked();
  }
  void set_limit(int64_t bytes) override {
    std::lock_guard lock(mutex_);
    stats_.limit = bytes;
  }

 private:
  bool over_limit(size_t size) const {
    return stats_.limit > 0 &&
           (size > static_cast<size_t>(stats_.limit) ||
            stats_.live + stats_.cached + static_cast<int64_t>(size) > stats_.limit);
  }

  void* allocate_from_system(size_t size, size_t requested) {
    if (over_limit(size)) trim_locked();
    const size_t alignment = size >= kHugePage ? kHugePage : kAlignment;
    void* pointer = over_limit(size) ? nullptr : std::aligned_alloc(alignment, padded(size));
    if (!pointer && !over_limit(size)) {
      trim_locked();
      pointer = std::aligned_alloc(alignment, padded(size));
    }
    if (!pointer) throw_out_of_memory(requested);
    if (size >= kHugePage) madvise(pointer, padded(size), MADV_HUGEPAGE);
    ++stats_.system_allocations;
    return pointer;
  }

  [[noreturn]] void throw_out_of_memory(size_t requested) const {
    throw OutOfMemoryError(cat("cpu: out of memory: requested ", requested, " bytes, live ",
                               stats_.live, ", cached ", stats_.cached, ", peak ", stats_.peak,
                               ", limit ", stats_.limit > 0 ? cat(stats_.limit) : "none"));
  }

  static size_t padded(size_t size) {
    const size_t alignment = size >= kHugePage ? kHugePage : kAlignment;
    return (size + alignment - 1) / alignment * alignment;
  }

  void trim_locked() {
    for (auto& [size, bin] : bins_) {
      for (void* pointer : bin) std::free(pointer);
      bin.clear();
    }
    stats_.cached = 0;
  }

  mutable std::mutex mutex_;
  std::unordered_map<size_t, std::vector<void*>> bins_;
  MemoryStats stats_;
};

std::array<Allocator*, kMaxDevices>& cuda_allocators() {
  static std::array<Allocator*, kMaxDevices> table{};
  return table;
}

}  // namespace

Allocator& cpu_allocator() {
  // Never destroyed: tensors in static storage may outlive every other static.
  static auto* instance = [] {
    auto* made = new CachingCpuAllocator;
    static CachingCpuAllocator* forked = made;
    pthread_atfork([] { forked->before_fork(); }, [] { forked->after_fork(); },
                   [] { forked->after_fork(); });
    return made;
  }();
  return *instance;
}

Allocator& allocator(Device device) {
  if (device.is_cpu()) return cpu_allocator();
  Allocator* found = device.index >= 0 && device.index < kMaxDevices
                         ? cuda_allocators()[static_cast<size_t>(device.index)]
                         : nullptr;
  TESSERA_CHECK(DeviceError, found, "device ", to_string(device), " is not available");
  return *found;
}

void register_allocator(Device device, Allocator* allocator) {
  TESSERA_CHECK(DeviceError, !device.is_cpu() && device.index >= 0 && device.index < kMaxDevices,
                "cannot register an allocator for ", to_string(device));
  cuda_allocators()[static_cast<size_t>(device.index)] = allocator;
}

}  // namespace tessera

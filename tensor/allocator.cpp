#include "tensor/allocator.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define TESSERA_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TESSERA_ASAN
#endif
#endif
#if defined(TESSERA_ASAN)
#include <sanitizer/asan_interface.h>
#endif

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "tensor/error.h"
#include "tensor/free_ranges.h"

namespace tessera {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kLargest = size_t{1} << 62;  // what can be counted in int64_t, rounded up
constexpr size_t kSmall = size_t{32} << 10;   // blocks below have size classes
constexpr int kMaxDevices = 16;

size_t round_up(size_t bytes, size_t step) { return (bytes + step - 1) / step * step; }

// Small blocks: up to eight sizes per power of two, at most 12.5 % is wasted.
size_t block_size(size_t bytes) {
  if (bytes <= 512 || bytes >= kSmall) return round_up(bytes, kAlignment);
  return round_up(bytes, std::bit_floor(bytes - 1) / 8);
}

#if defined(TESSERA_ASAN)
constexpr size_t kGuard = kAlignment;  // between blocks, so that an overrun is seen
void forbid(void* begin, size_t size) { __asan_poison_memory_region(begin, size); }
void permit(void* begin, size_t size) { __asan_unpoison_memory_region(begin, size); }
#else
constexpr size_t kGuard = 0;
void forbid(void*, size_t) {}
void permit(void*, size_t) {}
#endif

// Large blocks, cut from address space that is reserved far ahead and becomes memory as it is used:
// blocks of any size follow each other, are joined again when they are free, and share huge pages.
// What it holds may not be touched, what it hands out not yet.
class Heap {
 public:
  // Free memory that has been used before; nullptr if no range of it is large enough.
  std::byte* take_used(size_t size) { return used_.take(size + kGuard); }

  // Memory that takes a page of the system's where it is touched first; nullptr if there is none.
  std::byte* take_fresh(size_t size) {
    std::byte* found = fresh_.take(size + kGuard);
    if (!found && grow(size + kGuard)) found = fresh_.take(size + kGuard);
    return found;
  }

  void give(std::byte* block, size_t size) { used_.add(block, size + kGuard); }

  // Returns the whole pages of all free ranges to the system; their addresses stay ours.
  void trim() {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    for (auto [begin, size] = used_.take_lowest(); size > 0;
         std::tie(begin, size) = used_.take_lowest()) {
      const auto address = reinterpret_cast<uintptr_t>(begin);
      const uintptr_t first = round_up(address, page), last = (address + size) / page * page;
      if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
      fresh_.add(begin, size);
    }
  }

 private:
  static constexpr size_t kStep = size_t{32} << 20;        // made writable at a time
  static constexpr size_t kReservation = size_t{1} << 40;  // addresses alone cost nothing

  bool grow(size_t size) {
    const size_t step = round_up(size, kStep);
    if (static_cast<size_t>(end_ - next_) < step && !reserve(step)) return false;
    if (mprotect(next_, step, PROT_READ | PROT_WRITE) != 0) return false;
    madvise(next_, step, MADV_HUGEPAGE);
    forbid(next_, step);
    fresh_.add(next_, step);
    next_ += step;
    return true;
  }

  // No more than is needed now where the process may not have many addresses (ulimit -v).
  bool reserve(size_t step) {
    for (const size_t size : {kReservation, step + kHugePage}) {
      if (size < step + kHugePage) continue;
      void* begin = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (begin == MAP_FAILED) continue;
      if (next_ < end_) munmap(next_, static_cast<size_t>(end_ - next_));
      next_ = reinterpret_cast<std::byte*>(round_up(reinterpret_cast<uintptr_t>(begin), kHugePage));
      end_ = static_cast<std::byte*>(begin) + size;
      return true;
    }
    return false;
  }

  FreeRanges used_, fresh_;
  std::byte *next_ = nullptr, *end_ = nullptr;  // reserved, not yet writable
};

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
    const size_t size = block_size(bytes);
    ++stats_.allocations;
    void* pointer = take_cached(size);
    if (pointer) {
      stats_.cached -= static_cast<int64_t>(size);
    } else {
      pointer = take_from_system(size, bytes);
    }
    permit(pointer, size);
    forbid(static_cast<std::byte*>(pointer) + bytes, size - bytes);
    stats_.live += static_cast<int64_t>(size);
    stats_.peak = std::max(stats_.peak, stats_.live);
    return pointer;
  }

  void deallocate(void* pointer, size_t bytes) noexcept override {
    if (!pointer) return;
    const size_t size = block_size(bytes);
    std::lock_guard lock(mutex_);
    stats_.live -= static_cast<int64_t>(size);
    forbid(pointer, size);
    try {
      if (size < kSmall) {
        bins_[size].push_back(pointer);
      } else {
        heap_.give(static_cast<std::byte*>(pointer), size);
      }
      stats_.cached += static_cast<int64_t>(size);
    } catch (const std::bad_alloc&) {
      // No memory to note the block: it is lost.
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

  void* take_cached(size_t size) {
    if (size >= kSmall) return heap_.take_used(size);
    const auto bin = bins_.find(size);
    if (bin == bins_.end() || bin->second.empty()) return nullptr;
    void* pointer = bin->second.back();
    bin->second.pop_back();
    return pointer;
  }

  void* take_from_system(size_t size, size_t requested) {
    const auto take = [&]() -> void* {
      if (over_limit(size)) return nullptr;
      return size < kSmall ? std::aligned_alloc(kAlignment, size) : heap_.take_fresh(size);
    };
    void* pointer = take();
    if (!pointer) {
      trim_locked();
      pointer = take();
    }
    if (!pointer) throw_out_of_memory(requested);
    ++stats_.system_allocations;
    return pointer;
  }

  [[noreturn]] void throw_out_of_memory(size_t requested) const {
    throw OutOfMemoryError(cat("cpu: out of memory: requested ", requested, " bytes, live ",
                               stats_.live, ", cached ", stats_.cached, ", peak ", stats_.peak,
                               ", limit ", stats_.limit > 0 ? cat(stats_.limit) : "none"));
  }

  void trim_locked() {
    for (auto& [size, bin] : bins_) {
      for (void* pointer : bin) {
        permit(pointer, size);
        std::free(pointer);
      }
      bin.clear();
    }
    heap_.trim();
    stats_.cached = 0;
  }

  mutable std::mutex mutex_;
  std::unordered_map<size_t, std::vector<void*>> bins_;
  Heap heap_;
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
  if (!found) {
    detail::select_cuda_device(device.index);  // loads the plug-in, or says why there is none
    found = cuda_allocators()[static_cast<size_t>(device.index)];
  }
  return *found;
}

void register_allocator(Device device, Allocator* allocator) {
  TESSERA_CHECK(DeviceError, !device.is_cpu() && device.index >= 0 && device.index < kMaxDevices,
                "cannot register an allocator for ", to_string(device));
  cuda_allocators()[static_cast<size_t>(device.index)] = allocator;
}

}  // namespace tessera

#include "cuda/allocator.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>

#include "cuda/runtime.h"
#include "tensor/error.h"
#include "tensor/free_ranges.h"

namespace tessera::cuda {
namespace {

constexpr int kMaxDevices = 16;
constexpr size_t kAlignment = 512;
constexpr size_t kSmall = size_t{1} << 20;          // requests up to here share small segments
constexpr size_t kSmallSegment = size_t{2} << 20;   // of this size,
constexpr size_t kLargeSegment = size_t{64} << 20;  // larger ones segments of at least this
constexpr size_t kLargest = size_t{1} << 60;

size_t round_up(size_t bytes, size_t step) { return (bytes + step - 1) / step * step; }

// Calls go to `index` while this lives.
class DeviceScope {
 public:
  explicit DeviceScope(int index) : before_(current_device()) { set_device(index); }
  ~DeviceScope() {
    try {
      set_device(before_);
    } catch (const CudaError&) {  // the next call reports it
    }
  }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int before_;
};

// Segments of one kind and their free parts. A segment ends where the next begins only by chance:
// free ranges must not join across them, so each keeps its own.
class Pool {
 public:
  void* take(size_t size) {
    // The fullest segment first would need an index; there are few.
    for (auto& [begin, s] : segments_) {
      if (s.size - s.used < size) continue;
      if (std::byte* found = s.free.take(size)) {
        s.used += size;
        return found;
      }
    }
    return nullptr;
  }

  // Adds a segment; false if the runtime has no memory for it.
  bool grow(size_t bytes) {
    auto* begin = static_cast<std::byte*>(device_malloc(bytes));
    if (!begin) return false;
    Segment& s = segments_[begin];
    s.size = bytes;
    s.free.add(begin, bytes);
    return true;
  }

  bool give(std::byte* block, size_t size) {
    auto next = segments_.upper_bound(block);
    if (next == segments_.begin()) return false;
    Segment& s = std::prev(next)->second;
    if (block >= std::prev(next)->first + s.size) return false;
    s.free.add(block, size);
    s.used -= size;
    return true;
  }

  // Returns empty segments to the runtime; their bytes.
  size_t trim() {
    size_t bytes = 0;
    for (auto it = segments_.begin(); it != segments_.end();) {
      if (it->second.used > 0) {
        ++it;
        continue;
      }
      device_free(it->first);
      bytes += it->second.size;
      it = segments_.erase(it);
    }
    return bytes;
  }

 private:
  struct Segment {
    size_t size = 0, used = 0;
    FreeRanges free;
  };
  std::map<std::byte*, Segment, std::less<>> segments_;
};

class CachingCudaAllocator final : public Allocator {
 public:
  explicit CachingCudaAllocator(int index) : index_(index) {
    if (const char* text = std::getenv("TESSERA_CUDA_MEMORY_LIMIT")) {
      const char* end = text + std::strlen(text);
      const auto [stop, error] = std::from_chars(text, end, stats_.limit);
      TESSERA_CHECK(
          ValueError, error == std::errc() && stop == end && stats_.limit >= 0,
          "TESSERA_CUDA_MEMORY_LIMIT must be a whole number of bytes (0: no limit), got '", text,
          "'");
    }
  }

  void* allocate(size_t bytes) override {
    if (bytes == 0) return nullptr;
    std::lock_guard lock(mutex_);
    const DeviceScope scope(index_);
    if (bytes > kLargest) throw_out_of_memory(bytes);
    const size_t size = size_of_block(bytes);
    ++stats_.allocations;
    void* pointer = emulated() ? take_guarded(size, bytes) : take(size, bytes);
    stats_.live += static_cast<int64_t>(size);
    stats_.cached = held_ - stats_.live;
    stats_.peak = std::max(stats_.peak, stats_.live);
    return pointer;
  }

  void deallocate(void* pointer, size_t bytes) noexcept override {
    if (!pointer) return;
    std::lock_guard lock(mutex_);
    const size_t size = size_of_block(bytes);
    stats_.live -= static_cast<int64_t>(size);
    try {
      if (emulated()) {
        device_free(pointer);
        held_ -= static_cast<int64_t>(size);
      } else {
        pool_for(size).give(static_cast<std::byte*>(pointer), size);
      }
    } catch (const std::exception&) {  // a lost GPU, or no memory to note the block: it is lost
    }
    stats_.cached = held_ - stats_.live;
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
    const DeviceScope scope(index_);
    trim_locked();
  }
  void set_limit(int64_t bytes) override {
    std::lock_guard lock(mutex_);
    stats_.limit = bytes;
  }

 private:
  static size_t size_of_block(size_t bytes) {
    return emulated() ? bytes : round_up(bytes, kAlignment);
  }
  Pool& pool_for(size_t size) { return size <= kSmall ? small_ : large_; }

  bool within_limit(size_t more) const {
    return stats_.limit == 0 || held_ + static_cast<int64_t>(more) <= stats_.limit;
  }

  void* take_guarded(size_t size, size_t requested) {
    void* pointer = within_limit(size) ? device_malloc(size) : nullptr;
    if (!pointer) throw_out_of_memory(requested);
    ++stats_.system_allocations;
    held_ += static_cast<int64_t>(size);
    return pointer;
  }

  void* take(size_t size, size_t requested) {
    Pool& pool = pool_for(size);
    if (void* found = pool.take(size)) return found;
    if (!grow(pool, size)) {
      trim_locked();
      if (!grow(pool, size)) throw_out_of_memory(requested);
    }
    return pool.take(size);
  }

  bool grow(Pool& pool, size_t size) {
    const size_t least = round_up(size, kSmallSegment);
    size_t bytes = std::max(least, &pool == &large_ ? kLargeSegment : kSmallSegment);
    if (!within_limit(bytes)) bytes = least;
    if (!within_limit(bytes) || !pool.grow(bytes)) return false;
    held_ += static_cast<int64_t>(bytes);
    ++stats_.system_allocations;
    return true;
  }

  void trim_locked() {
    synchronize();  // what uses the memory may still run
    held_ -= static_cast<int64_t>(small_.trim() + large_.trim());
    stats_.cached = held_ - stats_.live;
  }

  [[noreturn]] void throw_out_of_memory(size_t requested) const {
    size_t free = 0, total = 0;
    memory_info(free, total);
    throw OutOfMemoryError(cat("cuda:", index_, ": out of memory: requested ", requested,
                               " bytes, live ", stats_.live, ", cached ", held_ - stats_.live,
                               ", peak ", stats_.peak, ", limit ",
                               stats_.limit > 0 ? cat(stats_.limit) : "none", ", free ", free,
                               " of ", total, " on the GPU"));
  }

  const int index_;
  mutable std::mutex mutex_;
  Pool small_, large_;
  int64_t held_ = 0;  // from the runtime
  MemoryStats stats_;
};

}  // namespace

Allocator& allocator_of(int device) {
  // Never destroyed: tensors in static storage may outlive every other static.
  static auto* table = new std::array<std::unique_ptr<CachingCudaAllocator>, kMaxDevices>;
  auto& place = (*table)[static_cast<size_t>(device)];
  if (!place) place = std::make_unique<CachingCudaAllocator>(device);
  return *place;
}

}  // namespace tessera::cuda

#include "cuda/emulator/shared_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

#include "cuda/emulator/build_mode.h"
#include "cuda/emulator/device_heap.h"
#include "cuda/emulator/machine.h"
#include "cuda/emulator/shared_variable.h"
#include "tensor/error.h"

namespace tessera::cuda::emulator {
namespace {

constexpr int kPoison = 0xFF;
constexpr std::byte kBandByte{0xCB};

}  // namespace

void SharedMemory::reserve() {
  void* memory =
      mmap(nullptr, kArena + 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  begin_ = static_cast<std::byte*>(memory) + kPage;
  mprotect(memory, kPage, PROT_NONE);
  mprotect(begin_ + kArena, kPage, PROT_NONE);
}

void SharedMemory::start_launch(size_t dynamic_bytes) {
  if (!begin_) reserve();
  // Ends at the guard page where its size allows; 128 bytes is what kernels may rely on.
  const size_t rounded = (dynamic_bytes + 15) / 16 * 16;
  dynamic_ = begin_ + (kArena - rounded) / 128 * 128;
  dynamic_part_.name = "dynamic shared memory";
  dynamic_part_.offset = offset_of(dynamic_);
  dynamic_part_.bytes = dynamic_bytes;
  if (kCheck) dynamic_part_.cells.reset(dynamic_bytes);
  ASAN_POISON_MEMORY_REGION(begin_, kArena);
  ASAN_UNPOISON_MEMORY_REGION(dynamic_, dynamic_bytes);
}

void SharedMemory::start_block(bool poison) {
  ASAN_POISON_MEMORY_REGION(begin_, used_);
  count_ = used_ = used_by_variables_ = 0;
  last_ = nullptr;
  if (dynamic_part_.bytes == 0) return;
  if (poison) std::memset(dynamic_, kPoison, dynamic_part_.bytes);
  if (kCheck) dynamic_part_.cells.reset(dynamic_part_.bytes, dynamic_part_.cells.granule());
  if (!kAsan && !kCheck) {
    std::byte* end = dynamic_ + dynamic_part_.bytes;
    std::fill(end, begin_ + kArena, kBandByte);
  }
}

void* SharedMemory::allocate(size_t bytes, size_t alignment, size_t element, const char* name,
                             bool poison, std::string& problem) {
  alignment = std::max<size_t>(alignment, 16);
  const size_t offset = (used_ + alignment - 1) / alignment * alignment;
  used_by_variables_ += bytes;
  if (used_by_variables_ > kStaticLimit) {
    problem = cat("more than 48 KiB of static shared memory, at '", name, "'");
    return nullptr;
  }
  used_ = offset + bytes + kBand;
  if (count_ == variables_.size()) variables_.emplace_back();
  Variable& variable = variables_[count_++];
  last_ = nullptr;  // the vector may have moved
  variable.name = name;
  variable.offset = offset;
  variable.bytes = bytes;
  ASAN_UNPOISON_MEMORY_REGION(begin_ + offset, bytes);
  if (poison) std::memset(begin_ + offset, kPoison, bytes);
  if (!kAsan) std::fill_n(begin_ + offset + bytes, kBand, kBandByte);
  if (kCheck) variable.cells.reset(bytes, element % 4 == 0 ? 4 : element % 2 == 0 ? 2 : 1);
  return begin_ + offset;
}

std::string SharedMemory::damage() const {
  const auto first_written = [&](const Variable& v, size_t band) {
    const std::byte* end = begin_ + v.offset + v.bytes;
    const std::byte* found =
        std::find_if(end, end + band, [](std::byte b) { return b != kBandByte; });
    return found == end + band ? std::string()
                               : cat("write past the end of shared variable '", v.name, "' (",
                                     v.bytes, " bytes), at byte ", v.bytes + (found - end));
  };
  for (size_t i = 0; i < count_; ++i)
    if (std::string text = first_written(variables_[i], kBand); !text.empty()) return text;
  if (dynamic_part_.bytes == 0) return {};
  return first_written(dynamic_part_, kArena - dynamic_part_.offset - dynamic_part_.bytes);
}

bool SharedMemory::is_near(const void* address) const {
  return begin_ && address >= begin_ - kPage && address < begin_ + kArena + kPage;
}

std::string SharedMemory::describe(const void* address) const {
  const std::ptrdiff_t offset = as_bytes(address) - begin_;
  const auto text = [&](const Variable& v) {
    return cat("shared variable '", v.name, "', byte ",
               offset - static_cast<std::ptrdiff_t>(v.offset), " of ", v.bytes);
  };
  const Variable* nearest = nullptr;  // the last one that begins at or before the address
  for (size_t i = 0; i < count_; ++i)
    if (!nearest || static_cast<std::ptrdiff_t>(variables_[i].offset) <= offset)
      nearest = &variables_[i];
  const bool behind =
      nearest && offset < static_cast<std::ptrdiff_t>(nearest->offset + nearest->bytes + kBand);
  if (dynamic_part_.bytes > 0 && !behind) return text(dynamic_part_);
  return nearest ? text(*nearest) : "unused shared memory";
}

}  // namespace tessera::cuda::emulator

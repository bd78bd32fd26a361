#include "cuda/emulator/device_heap.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "cuda/emulator/build_mode.h"
#include "cuda/emulator/kernel_error.h"

namespace tessera::cuda::emulator {
namespace {

constexpr size_t kArena = size_t{256} << 30;  // addresses alone cost nothing
constexpr size_t kAlignment = 256;
constexpr size_t kQuarantineBlocks = 1024;
constexpr size_t kQuarantineBytes = size_t{16} << 30;  // of addresses
constexpr size_t kResidentBlock = size_t{4} << 20;     // freed blocks up to here keep their pages,
constexpr size_t kResidentTotal = size_t{256} << 20;   // all of them no more than this
constexpr size_t kOwnMappings = 20000;                 // the system allows a process some 65,000
constexpr int kUntouched = 0xFF;                       // NaN in every floating type

size_t round_up(size_t value, size_t step) { return (value + step - 1) / step * step; }

// Few sizes, so that freed slots fit later requests: eight to an octave beyond eight pages.
size_t size_of_slot(size_t bytes) {
  const size_t pages = (bytes + kPage - 1) / kPage;
  const auto octave = static_cast<size_t>(std::bit_width(pages));
  return round_up(pages, octave > 4 ? size_t{1} << (octave - 4) : 1) * kPage;
}

bool is_untouched(const std::byte* begin, const std::byte* end) {
  if (begin == end) return true;
  return *begin == std::byte{kUntouched} &&
         std::memcmp(begin, begin + 1, static_cast<size_t>(end - begin - 1)) == 0;
}

}  // namespace

void DeviceHeap::reserve() {
  void* begin =
      mmap(nullptr, kArena, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (begin == MAP_FAILED)
    throw KernelError("CUDA emulator: cannot reserve addresses for the device's memory");
  arena_ = static_cast<std::byte*>(begin);
  used_ = kPage;  // the first guard page
  owner_.assign(1, 0);
}

void* DeviceHeap::allocate(size_t bytes, bool poison, bool guarded) {
  if (bytes > kDeviceBytes || live_bytes_ + bytes > kDeviceBytes) return nullptr;
  if (!arena_) reserve();
  const size_t size = std::max<size_t>(bytes, 1), slot_bytes = size_of_slot(size);
  DeviceBlock* block = reuse(slot_bytes);
  if (!block) block = cut(slot_bytes);
  if (!block) return nullptr;
  block->bytes = bytes;
  block->data = block->slot + (slot_bytes - size) / kAlignment * kAlignment;
  if (kCheck) block->cells.reset(bytes);
  if (!change_protection(*block, true)) {
    free_[slot_bytes].push_back(block);
    return nullptr;
  }
  fill(*block, poison);
  if (guarded) change_protection(*block, false);
  block->live = true;
  live_bytes_ += bytes;
  ++live_blocks_;
  return block->data;
}

// The free slot of this very size that was used last: its pages may still be there.
DeviceBlock* DeviceHeap::reuse(size_t slot_bytes) {
  const auto found = free_.find(slot_bytes);
  if (found == free_.end() || found->second.empty()) return nullptr;
  DeviceBlock* block = found->second.back();
  found->second.pop_back();
  if (block->resident) resident_free_ -= block->slot_bytes;
  return block;
}

DeviceBlock* DeviceHeap::cut(size_t slot_bytes) {
  if (kArena - used_ < slot_bytes + kPage) {  // rather than none: what should still have rested
    while (!quarantine_.empty()) recycle_oldest();
    return reuse(slot_bytes);
  }
  DeviceBlock& block = blocks_.emplace_back();
  block.slot = arena_ + used_;
  block.slot_bytes = slot_bytes;
  used_ += slot_bytes + kPage;
  owner_.resize(used_ / kPage - 1, static_cast<uint32_t>(blocks_.size()));
  owner_.push_back(0);
#ifdef MADV_DONTDUMP
  // A mapping unlike the guard pages is never joined with them and cut out again, which would make
  // opening and closing several times as slow. It counts as two of the process's mappings, though.
  if (blocks_.size() <= kOwnMappings) madvise(block.slot, slot_bytes, MADV_DONTDUMP);
#endif
  return &block;
}

void DeviceHeap::fill(DeviceBlock& block, bool poison) {
  std::byte* end = block.slot + block.slot_bytes;
  ASAN_UNPOISON_MEMORY_REGION(block.pages(), block.page_bytes());
  if (poison) {
    std::memset(block.pages(), kUntouched, block.page_bytes());
  } else {
    std::memset(block.pages(), kUntouched, static_cast<size_t>(block.data - block.pages()));
    std::byte* behind = block.data + block.bytes;
    std::memset(behind, kUntouched, static_cast<size_t>(end - behind));
  }
  ASAN_POISON_MEMORY_REGION(block.pages(), block.page_bytes());
  ASAN_UNPOISON_MEMORY_REGION(block.data, block.bytes);
  block.resident = true;
}

void DeviceHeap::free(void* pointer) {
  DeviceBlock* block = find(pointer);
  if (!block || block->data != pointer || !block->live)
    throw KernelError("CUDA emulator: device_free of what is no live device allocation");
  if (block->open) {
    std::erase(opened_, block);
    change_protection(*block, false);
  }
  block->live = false;
  block->cells.release();
  live_bytes_ -= block->bytes;
  --live_blocks_;
  if (block->slot_bytes <= kResidentBlock && resident_free_ + block->slot_bytes <= kResidentTotal) {
    resident_free_ += block->slot_bytes;
  } else {
    madvise(block->slot, block->slot_bytes, MADV_DONTNEED);
    block->resident = false;
  }
  quarantine_.push_back(block);
  quarantined_ += block->slot_bytes;
  while (quarantine_.size() > kQuarantineBlocks || quarantined_ > kQuarantineBytes)
    recycle_oldest();
}

void DeviceHeap::recycle_oldest() {
  DeviceBlock* block = quarantine_.front();
  quarantine_.pop_front();
  quarantined_ -= block->slot_bytes;
  free_[block->slot_bytes].push_back(block);
}

DeviceBlock& DeviceHeap::range(const void* begin, size_t bytes, const char* what) {
  DeviceBlock* block = find(begin);
  const auto* first = static_cast<const std::byte*>(begin);
  if (!block || !block->live || first < block->data ||
      bytes > block->bytes - std::min(block->bytes, static_cast<size_t>(first - block->data)))
    throw KernelError(cat("CUDA emulator: ", what, ": ", bytes, " bytes at ",
                          holds(begin) ? describe(begin) : "an address of the host",
                          " do not lie within one live device allocation"));
  return *block;
}

bool DeviceHeap::change_protection(DeviceBlock& block, bool open) {
  if (mprotect(block.pages(), block.page_bytes(), open ? PROT_READ | PROT_WRITE : PROT_NONE) != 0)
    return false;
  block.open = open;
  return true;
}

bool DeviceHeap::try_open(DeviceBlock& block) {
  if (block.open) return true;
  if (!change_protection(block, true)) return false;
  opened_.push_back(&block);
  return true;
}

void DeviceHeap::open(DeviceBlock& block) {
  if (!try_open(block))
    throw KernelError("CUDA emulator: too many memory mappings (vm.max_map_count)");
}

bool DeviceHeap::open_for_kernel(const void* address) {
  DeviceBlock* block = find(address);
  return block && block->live && !block->open && address >= block->pages() && try_open(*block);
}

std::string DeviceHeap::close_opened() {
  std::string damage;
  for (DeviceBlock* block : opened_) {
    // AddressSanitizer and the checker see the access itself.
    if (!kAsan && !kCheck && damage.empty()) {
      const std::byte* behind = block->data + block->bytes;
      if (!is_untouched(block->pages(), block->data))
        damage = cat("write in front of a device allocation of ", block->bytes, " bytes");
      else if (!is_untouched(behind, block->slot + block->slot_bytes))
        damage = cat("write behind the end of a device allocation of ", block->bytes, " bytes");
      if (!damage.empty()) {  // said once
        std::memset(block->pages(), kUntouched, static_cast<size_t>(block->data - block->pages()));
        std::memset(block->data + block->bytes, kUntouched,
                    static_cast<size_t>(block->slot + block->slot_bytes - behind));
      }
    }
    change_protection(*block, false);
  }
  opened_.clear();
  return damage;
}

std::string DeviceHeap::describe(const void* address) {
  const auto* at = static_cast<const std::byte*>(address);
  DeviceBlock* block = find(at);
  if (!block) block = find(at - kPage);  // on the guard page behind a block
  if (!block && holds(at + kPage)) block = find(at + kPage);
  if (!block) return "device memory outside of every allocation";
  return cat(block->live ? "" : "freed ", "device allocation, byte ", at - block->data, " of ",
             block->bytes);
}

}  // namespace tessera::cuda::emulator

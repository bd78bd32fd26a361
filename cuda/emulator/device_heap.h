#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "cuda/emulator/cells.h"

namespace tessera::cuda::emulator {

/// A multiple of the system's page.
#if defined(__x86_64__)
inline constexpr size_t kPage = 4096;
#else
inline constexpr size_t kPage = 65536;
#endif

/// One allocation, or the place of a former one: a slot of whole pages with a guard page behind it.
struct DeviceBlock {
  std::byte* slot = nullptr;
  size_t slot_bytes = 0;
  std::byte* data = nullptr;  // as near to the slot's end as alignment allows
  size_t bytes = 0;
  bool live = false;
  bool open = false;      // may be touched
  bool resident = false;  // its pages have not been returned to the system
  Cells cells;            // check mode

  /// What is opened: the pages that hold data.
  std::byte* pages() const { return slot + static_cast<size_t>(data - slot) / kPage * kPage; }
  size_t page_bytes() const { return static_cast<size_t>(slot + slot_bytes - pages()); }
};

/// The device's memory: a stretch of reserved addresses of which nothing may be touched but the
/// blocks that are open. A launch opens a block when a kernel first touches it, or before if it is
/// an argument, and closes it in the end, so the cost of guarding does not depend on how many
/// blocks live. The caller holds the machine's lock.
class DeviceHeap {
 public:
  static constexpr size_t kDeviceBytes = size_t{8} << 30;

  /// nullptr when the device, or the process's share of mappings, is used up.
  void* allocate(size_t bytes, bool poison, bool guarded);
  void free(void* pointer);

  /// The block whose slot `address` lies in, live or not, or nullptr.
  DeviceBlock* find(const void* address) {
    const auto offset = reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(arena_);
    if (offset >= used_) return nullptr;
    const uint32_t owner = owner_[offset / kPage];
    return owner ? &blocks_[owner - 1] : nullptr;
  }
  /// The live block that holds all of the range. Throws KernelError naming `what`.
  DeviceBlock& range(const void* begin, size_t bytes, const char* what);

  void open(DeviceBlock& block);
  /// Opens the live block of a kernel's access that faulted; false if there is none, or it is open.
  bool open_for_kernel(const void* address);
  /// Closes what was opened since; first looks for bytes written beside the open blocks' data,
  /// which it describes ("" if there are none).
  std::string close_opened();

  bool holds(const void* address) const {
    return arena_ && address >= arena_ && address < arena_ + used_;
  }
  /// "device allocation, byte 400 of 400" for an address of the arena.
  std::string describe(const void* address);

  size_t live_bytes() const { return live_bytes_; }
  size_t live_blocks() const { return live_blocks_; }
  /// Address space cut so far: it does not grow as blocks come and go.
  size_t used_addresses() const { return used_; }

 private:
  void reserve();
  DeviceBlock* reuse(size_t slot_bytes);
  DeviceBlock* cut(size_t slot_bytes);
  void recycle_oldest();
  bool try_open(DeviceBlock& block);
  bool change_protection(DeviceBlock& block, bool open);
  void fill(DeviceBlock& block, bool poison);

  std::byte* arena_ = nullptr;
  size_t used_ = 0;
  std::vector<uint32_t> owner_;  // of each page: a block's number, from 1; 0: guard
  std::deque<DeviceBlock> blocks_;
  std::map<size_t, std::vector<DeviceBlock*>> free_;  // by slot_bytes
  std::deque<DeviceBlock*> quarantine_;               // freed last, not to be used again yet
  size_t quarantined_ = 0, resident_free_ = 0;        // bytes
  std::vector<DeviceBlock*> opened_;
  size_t live_bytes_ = 0, live_blocks_ = 0;
};

}  // namespace tessera::cuda::emulator

#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cuda/emulator/cells.h"

namespace tessera::cuda::emulator {

/// A block's shared memory: static variables from the front, each with a band behind it that
/// nobody may write; the dynamic part at the end, directly in front of a guard page.
class SharedMemory {
 public:
  static constexpr size_t kStaticLimit = size_t{48} << 10;    // CUDA's, of static variables
  static constexpr size_t kDefaultLimit = size_t{48} << 10;   // and of all without opting in
  static constexpr size_t kLargestLimit = size_t{227} << 10;  // a Hopper's

  struct Variable {
    const char* name = nullptr;
    size_t offset = 0, bytes = 0;
    Cells cells;  // check mode
  };

  void start_launch(size_t dynamic_bytes);
  /// Forgets the variables; the dynamic part is fresh.
  void start_block(bool poison);

  /// A variable of this block. "" or, in `problem`, what limit it breaks.
  void* allocate(size_t bytes, size_t alignment, size_t element, const char* name, bool poison,
                 std::string& problem);
  void* dynamic() const { return dynamic_; }

  bool holds(const void* address) const { return address >= begin_ && address < begin_ + kArena; }
  /// Whether all of the range lies in the arena.
  bool holds(const void* begin, size_t bytes) const {
    return holds(begin) && bytes <= static_cast<size_t>(begin_ + kArena - as_bytes(begin));
  }
  size_t offset_of(const void* address) const {
    return static_cast<size_t>(as_bytes(address) - begin_);
  }
  std::byte* at(size_t offset) const { return begin_ + offset; }

  /// The variable, or the dynamic part, that holds all of the range; nullptr if none does.
  Variable* find(size_t offset, size_t bytes) {
    if (last_ && contains(*last_, offset, bytes)) return last_;
    for (size_t i = 0; i < count_; ++i)
      if (contains(variables_[i], offset, bytes)) return last_ = &variables_[i];
    return contains(dynamic_part_, offset, bytes) ? last_ = &dynamic_part_ : nullptr;
  }

  /// The first band that was written into, described; "" if none was.
  std::string damage() const;
  /// Whether `address` lies in the arena or on its guard pages, and what is there.
  bool is_near(const void* address) const;
  std::string describe(const void* address) const;

 private:
  static constexpr size_t kArena = size_t{512} << 10;
  static constexpr size_t kBand = 64;

  static const std::byte* as_bytes(const void* address) {
    return static_cast<const std::byte*>(address);
  }
  static bool contains(const Variable& v, size_t offset, size_t bytes) {
    return offset >= v.offset && offset + bytes <= v.offset + v.bytes;
  }
  void reserve();

  std::byte* begin_ = nullptr;
  std::vector<Variable> variables_;  // the first count_ are this block's
  size_t count_ = 0;
  size_t used_ = 0, used_by_variables_ = 0;
  Variable dynamic_part_;
  std::byte* dynamic_ = nullptr;
  Variable* last_ = nullptr;  // found last
};

}  // namespace tessera::cuda::emulator

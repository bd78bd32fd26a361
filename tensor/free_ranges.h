#pragma once

#include <cstddef>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <utility>

namespace tessera {

/// Free memory as address ranges: neighbours are joined, the smallest range that fits is cut. It
/// touches no memory itself.
class FreeRanges {
 public:
  /// Gives [begin, begin + size) to the set; it must not overlap what is there. Throws bad_alloc,
  /// the set unchanged, where there is no memory to note it.
  void add(std::byte* begin, size_t size) {
    if (size == 0) return;
    const auto next = by_address_.lower_bound(begin);
    const bool joins_next = next != by_address_.end() && begin + size == next->first;
    if (next != by_address_.begin()) {
      const auto before = std::prev(next);
      if (before->first + before->second == begin) {
        if (joins_next) {
          size += next->second;
          by_size_.erase({next->second, next->first});
          by_address_.erase(next);
        }
        return change(before, before->first, before->second + size);
      }
    }
    if (joins_next) return change(next, begin, size + next->second);
    const auto added = by_address_.emplace(begin, size).first;
    try {
      by_size_.emplace(size, begin);
    } catch (...) {
      by_address_.erase(added);
      throw;
    }
  }

  /// Cuts `size` > 0 bytes from the smallest range that has them, the lowest among equals; nullptr
  /// if there is none.
  std::byte* take(size_t size) {
    const auto best = by_size_.lower_bound({size, nullptr});
    if (best == by_size_.end()) return nullptr;
    const auto [whole, begin] = *best;
    const auto range = by_address_.find(begin);
    if (whole > size) {
      change(range, begin + size, whole - size);
    } else {
      by_size_.erase(best);
      by_address_.erase(range);
    }
    return begin;
  }

  /// Takes out the lowest range; size 0 if the set is empty.
  std::pair<std::byte*, size_t> take_lowest() {
    if (by_address_.empty()) return {nullptr, 0};
    const std::pair<std::byte*, size_t> range = *by_address_.begin();
    by_size_.erase({range.second, range.first});
    by_address_.erase(by_address_.begin());
    return range;
  }

 private:
  using ByAddress = std::map<std::byte*, size_t, std::less<>>;

  // Moves a range's ends. The nodes are used again, so nothing is allocated.
  void change(ByAddress::iterator range, std::byte* begin, size_t size) {
    auto by_size = by_size_.extract({range->second, range->first});
    by_size.value() = {size, begin};
    by_size_.insert(std::move(by_size));
    auto by_address = by_address_.extract(range);
    by_address.key() = begin;
    by_address.mapped() = size;
    by_address_.insert(std::move(by_address));
  }

  ByAddress by_address_;
  std::set<std::pair<size_t, std::byte*>> by_size_;
};

}  // namespace tessera

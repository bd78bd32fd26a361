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
  /// Gives [begin, begin + size) to the set; it must not overlap what is there.
  void add(std::byte* begin, size_t size) {
    if (size == 0) return;
    auto next = by_address_.lower_bound(begin);
    if (next != by_address_.end() && begin + size == next->first) {
      size += next->second;
      by_size_.erase({next->second, next->first});
      next = by_address_.erase(next);
    }
    if (next != by_address_.begin()) {
      const auto before = std::prev(next);
      if (before->first + before->second == begin) {
        by_size_.erase({before->second, before->first});
        begin = before->first;
        size += before->second;
        by_address_.erase(before);
      }
    }
    by_address_.emplace(begin, size);
    by_size_.emplace(size, begin);
  }

  /// Cuts `size` > 0 bytes from the smallest range that has them, the lowest among equals; nullptr
  /// if there is none.
  std::byte* take(size_t size) {
    const auto best = by_size_.lower_bound({size, nullptr});
    if (best == by_size_.end()) return nullptr;
    const auto [whole, begin] = *best;
    by_size_.erase(best);
    by_address_.erase(begin);
    if (whole > size) {
      by_address_.emplace(begin + size, whole - size);
      by_size_.emplace(whole - size, begin + size);
    }
    return begin;
  }

  /// Empties the set into `to`, after f(begin, size) for each range.
  template <class F>
  void move_to(FreeRanges& to, F&& f) {
    for (const auto& [begin, size] : by_address_) {
      f(begin, size);
      to.add(begin, size);
    }
    by_address_.clear();
    by_size_.clear();
  }

 private:
  std::map<std::byte*, size_t, std::less<>> by_address_;
  std::set<std::pair<size_t, std::byte*>> by_size_;
};

}  // namespace tessera

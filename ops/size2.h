#pragma once

#include <cstdint>
#include <ostream>

namespace tessera {

/// Height and width of a window parameter. One number stands for both: `{.stride = 2}` and
/// `{.stride = {2, 1}}` are alike.
struct Size2 {
  int64_t h = 0, w = 0;
  constexpr Size2() = default;
  constexpr Size2(int64_t both) : h(both), w(both) {}
  constexpr Size2(int64_t height, int64_t width) : h(height), w(width) {}
  constexpr bool operator==(const Size2&) const = default;
};

inline std::ostream& operator<<(std::ostream& out, const Size2& s) {
  return out << '(' << s.h << ", " << s.w << ')';
}

}  // namespace tessera

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

/// low <= h, w < 2^31: what a window option may be, so that the sizes computed from it do not
/// overflow.
constexpr bool in_option_range(const Size2& s, int64_t low) {
  constexpr int64_t kEnd = int64_t{1} << 31;
  return s.h >= low && s.w >= low && s.h < kEnd && s.w < kEnd;
}

inline std::ostream& operator<<(std::ostream& out, const Size2& s) {
  return out << '(' << s.h << ", " << s.w << ')';
}

}  // namespace tessera

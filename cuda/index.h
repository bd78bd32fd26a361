#pragma once

#include <cstdint>

#include "tensor/macros.h"

namespace tessera::cuda {

/// Division by a number that is the same for a whole launch: a multiplication and a shift.
/// For numerators below 2^31. Source: Granlund and Montgomery, "Division by invariant integers
/// using multiplication", 1994.
struct Divider {
  uint32_t divisor = 1, multiplier = 0, shift = 0;

  Divider() = default;
  /// 1 <= d < 2^31.
  TESSERA_HD explicit Divider(int64_t d) : divisor(static_cast<uint32_t>(d)) {
    while ((uint64_t{1} << shift) < divisor) ++shift;
    multiplier = static_cast<uint32_t>(
        ((uint64_t{1} << 32) * ((uint64_t{1} << shift) - divisor)) / divisor + 1);
  }
  TESSERA_HD uint32_t divide(uint32_t n) const {
    const auto high = static_cast<uint32_t>((uint64_t{n} * multiplier) >> 32);
    return (high + n) >> shift;
  }
  /// n / divisor; n becomes the remainder.
  TESSERA_HD uint32_t split(uint32_t& n) const {
    const uint32_t quotient = divide(n);
    n -= quotient * divisor;
    return quotient;
  }
};

}  // namespace tessera::cuda

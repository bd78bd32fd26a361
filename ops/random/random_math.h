#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "tensor/generator.h"
#include "tensor/macros.h"

// How words become numbers; the same formulas on every device.
namespace tessera::math {

inline constexpr double kTwoPi = 6.283185307179586476925;
inline constexpr double kHalfSqrtPi = 0.886226925452758013649;

/// 53 bits of (high, low) as an integer.
TESSERA_HD inline double bits53(uint32_t high, uint32_t low) {
  return static_cast<double>((uint64_t{high} << 32 | low) >> 11);
}

/// log(u) of a positive normal number to some units of the last place, without a branch, so that
/// loops vectorise: u = 2^e m, m in [sqrt(1/2), sqrt(2)), log m = 2 atanh((m - 1) / (m + 1)).
TESSERA_HD inline double log_unit(double u) {
  const uint64_t root_half = 0x3FE6A09E667F3BCDu, one = 0x3FF0000000000000u;
  const uint64_t above = std::bit_cast<uint64_t>(u) - root_half + one;
  const double e = std::bit_cast<double>(above >> 52 | 0x4330000000000000u) - (0x1p52 + 1023);
  const double m = std::bit_cast<double>((above & 0x000FFFFFFFFFFFFFu) + root_half);
  const double s = (m - 1.0) / (m + 1.0), z = s * s;
  double p = 1.0 / 21;
  p = p * z + 1.0 / 19;
  p = p * z + 1.0 / 17;
  p = p * z + 1.0 / 15;
  p = p * z + 1.0 / 13;
  p = p * z + 1.0 / 11;
  p = p * z + 1.0 / 9;
  p = p * z + 1.0 / 7;
  p = p * z + 1.0 / 5;
  p = p * z + 1.0 / 3;
  return e * 0.693147180559945309417 + 2.0 * (s + s * z * p);
}

/// Two standard normal numbers from u in (0, 1] and v in [0, 1).
struct NormalPair {
  double a, b;
};
TESSERA_HD inline NormalPair box_muller(double u, double v) {
  const double radius = std::sqrt(-2.0 * log_unit(u));
  // The angle 2 pi v as quarter turns and the rest r, |r| <= pi / 4; Taylor series there.
  const double shifted = 4.0 * v + 0x1.8p52;
  const uint64_t quarter = std::bit_cast<uint64_t>(shifted);
  const double r = (v - 0.25 * (shifted - 0x1.8p52)) * kTwoPi, z = r * r;
  double s = -1.0 / 1307674368000.0;
  s = s * z + 1.0 / 6227020800.0;
  s = s * z - 1.0 / 39916800.0;
  s = s * z + 1.0 / 362880.0;
  s = s * z - 1.0 / 5040.0;
  s = s * z + 1.0 / 120.0;
  s = s * z - 1.0 / 6.0;
  s = r + r * z * s;
  double c = 1.0 / 20922789888000.0;
  c = c * z - 1.0 / 87178291200.0;
  c = c * z + 1.0 / 479001600.0;
  c = c * z - 1.0 / 3628800.0;
  c = c * z + 1.0 / 40320.0;
  c = c * z - 1.0 / 720.0;
  c = c * z + 1.0 / 24.0;
  c = (1.0 - 0.5 * z) + z * z * c;
  const bool odd = (quarter & 1u) != 0;
  const uint64_t cos_sign = ((quarter + 1u) & 2u) << 62, sin_sign = (quarter & 2u) << 62;
  const double cosine = std::bit_cast<double>(std::bit_cast<uint64_t>(odd ? s : c) ^ cos_sign);
  const double sine = std::bit_cast<double>(std::bit_cast<uint64_t>(odd ? c : s) ^ sin_sign);
  return {radius * cosine, radius * sine};
}

/// Inverse error function for |x| < 1: Giles, "Approximating the erfinv function", 2010 (single
/// precision), refined by two Newton steps to f64.
TESSERA_HD inline double erfinv(double x) {
  double w = -std::log((1.0 - x) * (1.0 + x)), p;
  if (w < 5.0) {
    w -= 2.5;
    p = 2.81022636e-08;
    p = 3.43273939e-07 + p * w;
    p = -3.5233877e-06 + p * w;
    p = -4.39150654e-06 + p * w;
    p = 0.00021858087 + p * w;
    p = -0.00125372503 + p * w;
    p = -0.00417768164 + p * w;
    p = 0.246640727 + p * w;
    p = 1.50140941 + p * w;
  } else {
    w = std::sqrt(w) - 3.0;
    p = -0.000200214257;
    p = 0.000100950558 + p * w;
    p = 0.00134934322 + p * w;
    p = -0.00367342844 + p * w;
    p = 0.00573950773 + p * w;
    p = -0.0076224613 + p * w;
    p = 0.00943887047 + p * w;
    p = 1.00167406 + p * w;
    p = 2.83297682 + p * w;
  }
  double y = p * x;
  for (int step = 0; step < 2; ++step) {
    // erf(y) - x; erfc keeps its relative precision in the tails, where 1 - |x| is small.
    const double excess = x < 0 ? std::erfc(-y) - (1.0 + x) : (1.0 - x) - std::erfc(y);
    y -= excess * kHalfSqrtPi * std::exp(y * y);
  }
  return y;
}

}  // namespace tessera::math

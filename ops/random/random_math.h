#pragma once

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

/// Two standard normal numbers from u in (0, 1] and v in [0, 1).
struct NormalPair {
  double a, b;
};
TESSERA_HD inline NormalPair box_muller(double u, double v) {
  const double r = std::sqrt(-2.0 * std::log(u));
  return {r * std::cos(kTwoPi * v), r * std::sin(kTwoPi * v)};
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

#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "tensor/generator.h"
#include "tensor/macros.h"

// How words become numbers; the same formulas on every device.
namespace tessera::math {

inline constexpr double kTwoPi = 6.283185307179586476925;

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

/// (sum of above[i] t^i) / (sum of below[i] t^i).
TESSERA_HD inline double rational(const double (&above)[8], const double (&below)[8], double t) {
  double p = above[7], q = below[7];
  for (int i = 6; i >= 0; --i) {
    p = p * t + above[i];
    q = q * t + below[i];
  }
  return p / q;
}

/// Inverse error function for |x| < 1 to some units of the last place, without a branch, so that
/// loops vectorise: the three rational functions of Wichura, "Algorithm AS 241: The percentage
/// points of the normal distribution", 1988 (PPND16), which gives sqrt(2) erfinv(x).
TESSERA_HD inline double erfinv(double x) {
  constexpr double kMiddleAbove[] = {3.3871328727963666080, 133.14166789178437745,
                                     1971.5909503065514427, 13731.693765509461125,
                                     45921.953931549871457, 67265.770927008700853,
                                     33430.575583588128105, 2509.0809287301226727},
                   kMiddleBelow[] = {1,
                                     42.313330701600911252,
                                     687.18700749205790830,
                                     5394.1960214247511077,
                                     21213.794301586595867,
                                     39307.895800092710610,
                                     28729.085735721942674,
                                     5226.4952788528545610},
                   kTailAbove[] = {1.42343711074968357734,   4.63033784615654529590,
                                   5.76949722146069140550,   3.64784832476320460504,
                                   1.27045825245236838258,   0.241780725177450611770,
                                   0.0227238449892691845833, 7.74545014278341407640e-4},
                   kTailBelow[] = {1,
                                   2.05319162663775882187,
                                   1.67638483018380384940,
                                   0.689767334985100004550,
                                   0.148103976427480074590,
                                   0.0151986665636164571966,
                                   5.47593808499534494600e-4,
                                   1.05075007164441684324e-9},
                   kEndAbove[] = {6.65790464350110377720,    5.46378491116411436990,
                                  1.78482653991729133580,    0.296560571828504891230,
                                  0.0265321895265761230930,  1.24266094738807843860e-3,
                                  2.71155556874348757815e-5, 2.01033439929228813265e-7},
                   kEndBelow[] = {1,
                                  0.599832206555887937690,
                                  0.136929880922735805310,
                                  0.0148753612908506148525,
                                  7.86869131145613259100e-4,
                                  1.84631831751005468180e-5,
                                  1.42151175831644588870e-7,
                                  2.04426310338993978564e-15};
  const double q = 0.5 * x, size = std::fabs(q);
  const double middle = q * rational(kMiddleAbove, kMiddleBelow, 0.180625 - q * q);
  const double r = std::sqrt(-log_unit(0.5 - size));
  const double tail = rational(kTailAbove, kTailBelow, r - 1.6);
  const double end = rational(kEndAbove, kEndBelow, r - 5.0);
  const double outer = std::copysign(r <= 5.0 ? tail : end, x);
  return 0.707106781186547524401 * (size <= 0.425 ? middle : outer);
}

}  // namespace tessera::math

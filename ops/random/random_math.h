#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "tensor/generator.h"
#include "tensor/macros.h"

// How words become numbers; the same bits on every device. Compilers may contract a product and a
// sum to one rounding or not, and nvcc and the host's compiler choose differently: wherever it
// makes a difference the formulas say std::fma. What is left are products, quotients and square
// roots, sums of sums, and products with powers of two, which are exact. Without fma instructions
// the compiler calls a function instead: slower, and still the same bits.
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
  p = std::fma(p, z, 1.0 / 19);
  p = std::fma(p, z, 1.0 / 17);
  p = std::fma(p, z, 1.0 / 15);
  p = std::fma(p, z, 1.0 / 13);
  p = std::fma(p, z, 1.0 / 11);
  p = std::fma(p, z, 1.0 / 9);
  p = std::fma(p, z, 1.0 / 7);
  p = std::fma(p, z, 1.0 / 5);
  p = std::fma(p, z, 1.0 / 3);
  return std::fma(e, 0.693147180559945309417, 2.0 * std::fma(s * z, p, s));
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
  s = std::fma(s, z, 1.0 / 6227020800.0);
  s = std::fma(s, z, -1.0 / 39916800.0);
  s = std::fma(s, z, 1.0 / 362880.0);
  s = std::fma(s, z, -1.0 / 5040.0);
  s = std::fma(s, z, 1.0 / 120.0);
  s = std::fma(s, z, -1.0 / 6.0);
  s = std::fma(r * z, s, r);
  double c = 1.0 / 20922789888000.0;
  c = std::fma(c, z, -1.0 / 87178291200.0);
  c = std::fma(c, z, 1.0 / 479001600.0);
  c = std::fma(c, z, -1.0 / 3628800.0);
  c = std::fma(c, z, 1.0 / 40320.0);
  c = std::fma(c, z, -1.0 / 720.0);
  c = std::fma(c, z, 1.0 / 24.0);
  c = std::fma(z * z, c, 1.0 - 0.5 * z);
  const bool odd = (quarter & 1u) != 0;
  const uint64_t cos_sign = ((quarter + 1u) & 2u) << 62, sin_sign = (quarter & 2u) << 62;
  const double cosine = std::bit_cast<double>(std::bit_cast<uint64_t>(odd ? s : c) ^ cos_sign);
  const double sine = std::bit_cast<double>(std::bit_cast<uint64_t>(odd ? c : s) ^ sin_sign);
  return {radius * cosine, radius * sine};
}

/// The two uniform numbers of a normal pair: of two words for float, of four for double.
struct NormalUnits {
  double u, v;
};
template <class T>
TESSERA_HD NormalUnits normal_units(const uint32_t* w) {
  if constexpr (sizeof(T) == 8)
    return {1.0 - bits53(w[0], w[1]) * 0x1p-53, bits53(w[2], w[3]) * 0x1p-53};
  else
    return {(static_cast<double>(w[0]) + 1.0) * 0x1p-32, static_cast<double>(w[1]) * 0x1p-32};
}

/// From a uniform number in [0, 1) to one in [lo, hi).
template <class T>
struct ToUniform {
  double lo, range;
  T end, last;

  ToUniform(double low, double high)
      : lo(low),
        range(high - low),
        end(static_cast<T>(high)),
        last(std::nextafter(end, static_cast<T>(low))) {}
  TESSERA_HD T operator()(double u) const {
    const T v = static_cast<T>(std::fma(range, u, lo));
    return v < end ? v : last;
  }
};

/// From a standard normal number to one of another mean and deviation.
template <class T>
struct ToNormal {
  double mean, stddev;
  TESSERA_HD T operator()(double v) const { return static_cast<T>(std::fma(stddev, v, mean)); }
};

/// (sum of above[i] t^i) / (sum of below[i] t^i). Written out: as a loop it would keep those around
/// it from being vectorised.
TESSERA_HD inline double rational(const double (&above)[8], const double (&below)[8], double t) {
  double p = std::fma(above[7], t, above[6]), q = std::fma(below[7], t, below[6]);
  p = std::fma(p, t, above[5]);
  q = std::fma(q, t, below[5]);
  p = std::fma(p, t, above[4]);
  q = std::fma(q, t, below[4]);
  p = std::fma(p, t, above[3]);
  q = std::fma(q, t, below[3]);
  p = std::fma(p, t, above[2]);
  q = std::fma(q, t, below[2]);
  p = std::fma(p, t, above[1]);
  q = std::fma(q, t, below[1]);
  p = std::fma(p, t, above[0]);
  q = std::fma(q, t, below[0]);
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
  const double middle = q * rational(kMiddleAbove, kMiddleBelow, std::fma(-q, q, 0.180625));
  const double r = std::sqrt(-log_unit(0.5 - size));
  const double tail = rational(kTailAbove, kTailBelow, r - 1.6);
  const double end = rational(kEndAbove, kEndBelow, r - 5.0);
  const double outer = std::copysign(r <= 5.0 ? tail : end, x);
  return 0.707106781186547524401 * (size <= 0.425 ? middle : outer);
}

/// From a uniform number in (0, 1) to a normal one that was cut to [lo, hi].
struct ToTruncatedNormal {
  double mean, lo, hi, scale, from, range;

  ToTruncatedNormal(double mean_, double stddev, double lo_, double hi_)
      : mean(mean_), lo(lo_), hi(hi_), scale(stddev * 1.414213562373095048802) {
    const auto below = [this](double v) { return 0.5 * std::erfc(-(v - mean) / scale); };
    from = below(lo);
    range = below(hi) - from;
  }
  // std::clamp's references keep loops from being vectorised.
  TESSERA_HD static double within(double v, double least, double most) {
    const double w = v > least ? v : least;
    return w < most ? w : most;
  }
  TESSERA_HD double operator()(double u) const {
    // Kept inside (-1, 1), where erfinv is finite: a cut further out gives its nearer bound.
    constexpr double kLargest = 1 - 0x1p-53;
    const double x = within(2.0 * std::fma(range, u, from) - 1.0, -kLargest, kLargest);
    return within(std::fma(scale, erfinv(x), mean), lo, hi);
  }
};

/// lo + the upper 64 bits of (two words * range).
TESSERA_HD inline int64_t scaled_integer(uint32_t high, uint32_t low, int64_t lo, uint64_t range) {
  const uint64_t bits = uint64_t{high} << 32 | low;
  const auto above = static_cast<uint64_t>(static_cast<unsigned __int128>(bits) * range >> 64);
  return static_cast<int64_t>(static_cast<uint64_t>(lo) + above);
}

/// Whether u < p for u = the upper 24 bits of a word / 2^24.
TESSERA_HD inline bool below(uint32_t word, double p) {
  return static_cast<double>(word >> 8) * 0x1p-24 < p;
}
/// The same as a comparison of integers: true for words whose upper 24 bits are below the result.
inline uint32_t word_threshold(double p) {
  return static_cast<uint32_t>(std::ceil(std::clamp(p, 0.0, 1.0) * 0x1p24));
}

}  // namespace tessera::math

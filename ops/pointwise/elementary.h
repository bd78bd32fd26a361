#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "tensor/macros.h"

/// Elementary functions for the formulas of the pointwise kernels, CPU and CUDA alike.
///
/// The float versions are branch-free polynomials that a compiler vectorises (std::exp in a loop is
/// a call per element). Largest error against float64 over all magnitudes, measured by
/// tests/ops/pointwise/elementary_test.cpp: log 1 ulp; exp, expm1, log1p, sin, cos 1.6;
/// sigmoid, erf, tanh 2.5 ulp. Denormals, zeros, infinities and NaN give what the C library gives.
/// The polynomials are weighted least-squares fits on the interval named beside each of them.
/// The double versions are the C library's.
namespace tessera::math {

namespace detail {

TESSERA_HD inline uint32_t bits_of(float x) { return std::bit_cast<uint32_t>(x); }
TESSERA_HD inline float from_bits(uint32_t u) { return std::bit_cast<float>(u); }

inline constexpr float kRoundMagic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
inline constexpr float kLog2E = 1.44269504f;
inline constexpr float kLn2High = 0.693359375f;  // 10 bits, so that n * kLn2High is exact
inline constexpr float kLn2Low = -2.12194440e-4f;

// x = n ln 2 + r with |r| <= ln 2 / 2; `bits` is n in two's complement.
struct ExpParts {
  float r;
  uint32_t bits;
};
TESSERA_HD inline ExpParts split_exp(float x) {
  const float shifted = x * kLog2E + kRoundMagic;
  const float n = shifted - kRoundMagic;
  return {(x - n * kLn2High) - n * kLn2Low, bits_of(shifted) - bits_of(kRoundMagic)};
}
// 2^n for -126 <= n <= 127.
TESSERA_HD inline float pow2(uint32_t n) { return from_bits((n + 127u) << 23); }

}  // namespace detail

TESSERA_HD inline float exp(float x) {
  const float low = x < -104.0f ? -104.0f : x;  // NaN passes both comparisons
  const auto [r, n] = detail::split_exp(low > 89.0f ? 89.0f : low);
  float q = 1.394110499e-03f;  // (e^r - 1 - r) / r^2 on |r| <= ln 2 / 2
  q = q * r + 8.363175206e-03f;
  q = q * r + 4.166637361e-02f;
  q = q * r + 1.666657627e-01f;
  q = q * r + 0.5f;
  const float y = 1.0f + (r + r * r * q);
  const uint32_t half = static_cast<uint32_t>(static_cast<int32_t>(n) >> 1);
  return y * detail::pow2(half) * detail::pow2(n - half);  // in two steps: denormals, overflow
}
TESSERA_HD inline double exp(double x) { return std::exp(x); }

TESSERA_HD inline float expm1(float x) {
  const float low = x < -30.0f ? -30.0f : x;
  const auto [r, n] = detail::split_exp(low > 89.0f ? 89.0f : low);
  float q = 1.990748278e-04f;  // as in exp, one degree more: relative to e^r - 1 here
  q = q * r + 1.393364277e-03f;
  q = q * r + 8.333286270e-03f;
  q = q * r + 4.166646674e-02f;
  q = q * r + 1.666666716e-01f;
  q = q * r + 0.5f;
  const float p = r + r * r * q;
  const float s = detail::pow2(n - 1u);  // half of 2^n, which may overflow
  const float y = 2.0f * (s * p + (s - 0.5f));
  return x == 0.0f ? x : y;  // keeps -0
}
TESSERA_HD inline double expm1(double x) { return std::expm1(x); }

namespace detail {
// log(scaled) + shift * ln 2 for a positive normal number; anything for the rest.
TESSERA_HD inline float log_normal(float scaled, float shift) {
  const uint32_t u = bits_of(scaled) - 0x3F3504F3u;  // sqrt(1/2): mantissa in [.707, 1.414)
  const float e = static_cast<float>(static_cast<int32_t>(u) >> 23) + shift;
  const float f = from_bits((u & 0x007FFFFFu) + 0x3F3504F3u) - 1.0f;
  float p = 6.914468855e-02f;  // (log(1 + f) - f + f^2 / 2) / f^3
  p = p * f + -1.178934947e-01f;
  p = p * f + 1.187313795e-01f;
  p = p * f + -1.238443777e-01f;
  p = p * f + 1.421864778e-01f;
  p = p * f + -1.666924506e-01f;
  p = p * f + 2.000222653e-01f;
  p = p * f + -2.499998659e-01f;
  p = p * f + 3.333331048e-01f;
  const float f2 = f * f;
  return e * kLn2High + (f + (e * kLn2Low + (f2 * f * p - 0.5f * f2)));
}
}  // namespace detail

TESSERA_HD inline float log(float x) {
  const bool tiny = x < 1.17549435e-38f;
  const float y =  // 2^25 lifts denormals
      detail::log_normal(tiny ? x * 33554432.0f : x, tiny ? -25.0f : 0.0f);
  const float inf = detail::from_bits(0x7F800000u), nan = detail::from_bits(0x7FC00000u);
  const float above = x < inf ? y : x;  // +inf and NaN
  return x > 0.0f ? above : (x == 0.0f ? -inf : (x < 0.0f ? nan : x));
}
TESSERA_HD inline double log(double x) { return std::log(x); }

TESSERA_HD inline float log1p(float x) {
  const float u = 1.0f + x;
  const float lost = x - (u - 1.0f);  // what rounding 1 + x dropped
  const float y = log(u) + lost / u;
  const bool keep = x == 0.0f || x == detail::from_bits(0x7F800000u);
  return keep ? x : (x == -1.0f ? -detail::from_bits(0x7F800000u) : y);
}
TESSERA_HD inline double log1p(double x) { return std::log1p(x); }

TESSERA_HD inline float abs(float x) { return detail::from_bits(detail::bits_of(x) & 0x7FFFFFFFu); }
TESSERA_HD inline double abs(double x) { return std::fabs(x); }
TESSERA_HD inline float copysign(float magnitude, float sign) {
  return detail::from_bits((detail::bits_of(magnitude) & 0x7FFFFFFFu) |
                           (detail::bits_of(sign) & 0x80000000u));
}
TESSERA_HD inline double copysign(double magnitude, double sign) {
  return std::copysign(magnitude, sign);
}

TESSERA_HD inline float sqrt(float x) { return std::sqrt(x); }
TESSERA_HD inline double sqrt(double x) { return std::sqrt(x); }

/// 1 / (1 + e^-x), from e^-|x| so that neither tail loses digits.
template <class T>
TESSERA_HD T sigmoid(T x) {
  const T e = exp(-abs(x));
  return (x < T(0) ? e : T(1)) / (T(1) + e);
}

/// log(1 + e^x) without overflow.
TESSERA_HD inline float softplus(float x) {
  const float e = exp(-abs(x)), u = 1.0f + e;  // u in [1, 2]: log1p without its special cases
  const float log_u = detail::log_normal(u, 0.0f) + (e - (u - 1.0f)) / u;
  return (x < 0.0f ? 0.0f : x) + log_u;
}
TESSERA_HD inline double softplus(double x) {
  return (x < 0.0 ? 0.0 : x) + std::log1p(std::exp(-std::fabs(x)));
}

TESSERA_HD inline float tanh(float x) {
  const float t = expm1(-2.0f * abs(x));
  return copysign(-t / (t + 2.0f), x);
}
TESSERA_HD inline double tanh(double x) { return std::tanh(x); }

TESSERA_HD inline float erf(float x) {
  const float a = abs(x), u = x * x;
  float p = 7.889067638e-05f;  // erf(x) / x in x^2 on [0, 1]
  p = p * u + -8.020825917e-04f;
  p = p * u + 5.189533811e-03f;
  p = p * u + -2.685444430e-02f;
  p = p * u + 1.128360033e-01f;
  p = p * u + -3.761262596e-01f;
  p = p * u + 1.128379107e+00f;
  const float v = a > 4.0f ? 4.0f : a;
  float q = -1.924399839e-04f;  // -log(1 - erf(v)) on [0.95, 4]
  q = q * v + 3.008666448e-03f;
  q = q * v + -2.208813094e-02f;
  q = q * v + 1.036412865e-01f;
  q = q * v + 6.375159621e-01f;
  q = q * v + 1.127475619e+00f;
  q = q * v + 2.445766877e-04f;
  const float large = copysign(1.0f - exp(-q), x);
  return a < 1.0f ? x * p : large;
}
TESSERA_HD inline double erf(double x) { return std::erf(x); }

/// Up to this magnitude the float sin and cos below are accurate; beyond it use the double ones.
inline constexpr float kSinCosLimit = 1.0e6f;

namespace detail {
// sin (quarter = 0) or cos (quarter = 1) of x: reduction by pi/2 in double, polynomials in float.
TESSERA_HD inline float sin_cos(float x, uint32_t quarter) {
  const double magic = 6755399441055744.0;  // 1.5 * 2^52
  const double wide = x;
  const double shifted = wide * 0.63661977236758134 + magic;
  const double n = shifted - magic;
  // pi/2 in 33 bits, so that n times it is exact, and the rest
  const double reduced = (wide - n * 1.5707963267341256) - n * 6.0771005065061922e-11;
  const float r = static_cast<float>(reduced), u = r * r;
  const uint32_t q = static_cast<uint32_t>(static_cast<int32_t>(n)) + quarter;
  float s = -1.951729646e-04f;  // (sin(r) / r - 1) / r^2 in r^2 on |r| <= pi/4
  s = s * u + 8.332177997e-03f;
  s = s * u + -1.666665524e-01f;
  s = r + r * u * s;
  float c = 2.443844460e-05f;  // (cos(r) - 1 + r^2 / 2) / r^4
  c = c * u + -1.388736768e-03f;
  c = c * u + 4.166664556e-02f;
  c = (1.0f - 0.5f * u) + u * u * c;
  const float y = (q & 1u) != 0 ? c : s;
  return from_bits(bits_of(y) ^ (q & 2u) << 30);
}
}  // namespace detail

TESSERA_HD inline float sin(float x) {
  const float y = detail::sin_cos(x, 0u);
  return x == 0.0f ? x : y;  // keeps -0
}
TESSERA_HD inline double sin(double x) { return std::sin(x); }
TESSERA_HD inline float cos(float x) { return detail::sin_cos(x, 1u); }
TESSERA_HD inline double cos(double x) { return std::cos(x); }

}  // namespace tessera::math

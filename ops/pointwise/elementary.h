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
/// sigmoid, erf, tanh, softplus, pow 2.5 ulp. Denormals, zeros, infinities and NaN give what the C
/// library gives. The polynomials are weighted least-squares fits on the interval named beside each
/// of them. The double versions are the C library's.
namespace tessera::math {

namespace detail {

TESSERA_HD inline uint32_t bits_of(float x) { return std::bit_cast<uint32_t>(x); }
TESSERA_HD inline float from_bits(uint32_t u) { return std::bit_cast<float>(u); }

// c0 + c1 x + c2 x^2 + ... by Estrin's scheme: half the chain of dependent operations of Horner's,
// which is what bounds these loops (a processor looks only some iterations ahead).
TESSERA_HD inline float polynomial(float x, float c0, float c1) { return c1 * x + c0; }
TESSERA_HD inline float polynomial(float x, float c0, float c1, float c2, float c3) {
  return polynomial(x, c2, c3) * (x * x) + polynomial(x, c0, c1);
}
TESSERA_HD inline float polynomial(float x, float c0, float c1, float c2, float c3, float c4) {
  const float x2 = x * x;
  return (c4 * x2 + polynomial(x, c2, c3)) * x2 + polynomial(x, c0, c1);
}
TESSERA_HD inline float polynomial(float x, float c0, float c1, float c2, float c3, float c4,
                                   float c5) {
  const float x2 = x * x;
  return (polynomial(x, c4, c5) * x2 + polynomial(x, c2, c3)) * x2 + polynomial(x, c0, c1);
}
TESSERA_HD inline float polynomial(float x, float c0, float c1, float c2, float c3, float c4,
                                   float c5, float c6) {
  const float x2 = x * x;
  return (c6 * x2 + polynomial(x, c4, c5)) * (x2 * x2) + polynomial(x, c0, c1, c2, c3);
}
TESSERA_HD inline float polynomial(float x, float c0, float c1, float c2, float c3, float c4,
                                   float c5, float c6, float c7, float c8) {
  const float x2 = x * x;
  return polynomial(x, c4, c5, c6, c7, c8) * (x2 * x2) + polynomial(x, c0, c1, c2, c3);
}

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

// e^r for |r| <= ln 2 / 2; the polynomial is (e^r - 1 - r) / r^2.
TESSERA_HD inline float exp_near_0(float r) {
  const float q =
      polynomial(r, 0.5f, 1.666657627e-01f, 4.166637361e-02f, 8.363175206e-03f, 1.394110499e-03f);
  return 1.0f + (r + r * r * q);
}

}  // namespace detail

// Arguments out of range are seen to at the end, beside the chain of operations: what they make of
// it before does not matter, and NaN passes all comparisons.
TESSERA_HD inline float exp(float x) {
  const auto [r, n] = detail::split_exp(x);
  const uint32_t half = static_cast<uint32_t>(static_cast<int32_t>(n) >> 1);
  const float y =  // in two steps: denormals, overflow
      detail::exp_near_0(r) * detail::pow2(half) * detail::pow2(n - half);
  const float above = x > 89.0f ? detail::from_bits(0x7F800000u) : y;
  return x < -104.0f ? 0.0f : above;
}
TESSERA_HD inline double exp(double x) { return std::exp(x); }

TESSERA_HD inline float expm1(float x) {
  const auto [r, n] = detail::split_exp(x);
  // As in exp, one degree more: relative to e^r - 1 here.
  const float q = detail::polynomial(r, 0.5f, 1.666666716e-01f, 4.166646674e-02f, 8.333286270e-03f,
                                     1.393364277e-03f, 1.990748278e-04f);
  const float p = r + r * r * q;
  const float s = detail::pow2(n - 1u);  // half of 2^n, which may overflow
  const float y = 2.0f * (s * p + (s - 0.5f));
  const float above = x > 89.0f ? detail::from_bits(0x7F800000u) : y;
  const float inside = x < -30.0f ? -1.0f : above;
  return x == 0.0f ? x : inside;  // keeps -0
}
TESSERA_HD inline double expm1(double x) { return std::expm1(x); }

namespace detail {
// log(scaled) + shift * ln 2 for a positive normal number; anything for the rest.
TESSERA_HD inline float log_normal(float scaled, float shift) {
  const uint32_t u = bits_of(scaled) - 0x3F3504F3u;  // sqrt(1/2): mantissa in [.707, 1.414)
  const float e = static_cast<float>(static_cast<int32_t>(u) >> 23) + shift;
  const float f = from_bits((u & 0x007FFFFFu) + 0x3F3504F3u) - 1.0f;
  const float f2 = f * f;
  const float p =  // (log(1 + f) - f + f^2 / 2) / f^3
      polynomial(f, 3.333331048e-01f, -2.499998659e-01f, 2.000222653e-01f, -1.666924506e-01f,
                 1.421864778e-01f, -1.238443777e-01f, 1.187313795e-01f, -1.178934947e-01f,
                 6.914468855e-02f);
  return e * kLn2High + (f + (e * kLn2Low + (f2 * f * p - 0.5f * f2)));
}
}  // namespace detail

TESSERA_HD inline float log(float x) {
  const bool tiny = x < 1.17549435e-38f;
  const float y =  // 2^25 lifts denormals
      detail::log_normal(tiny ? x * 33554432.0f : x, tiny ? -25.0f : 0.0f);
  const float inf = detail::from_bits(0x7F800000u), nan = detail::from_bits(0x7FC00000u);
  const float negative = x < 0.0f ? nan : x;  // +inf and NaN stay
  const float special = x == 0.0f ? -inf : negative;
  return detail::bits_of(x) - 1u < 0x7F7FFFFFu ? y : special;  // 0 < x < inf
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
  const float e = exp(-abs(x));
  // log(1 + e) = 2 atanh(s); the polynomial is (2 atanh(s) / s - 2) / s^2 in s^2 on [0, 1/9].
  const float s = e / (2.0f + e), z = s * s;
  const float p =
      detail::polynomial(z, 6.666641235e-01f, 4.002169967e-01f, 2.799913883e-01f, 2.802446485e-01f);
  return (x < 0.0f ? 0.0f : x) + (s * z * p + 2.0f * s);
}
TESSERA_HD inline double softplus(double x) {
  return (x < 0.0 ? 0.0 : x) + std::log1p(std::exp(-std::fabs(x)));
}

TESSERA_HD inline float tanh(float x) {
  const float t = expm1(-2.0f * abs(x));
  return copysign(-t / (t + 2.0f), x);
}
TESSERA_HD inline double tanh(double x) { return std::tanh(x); }

/// erf(x), given e = e^(-x^2) to float's precision.
TESSERA_HD inline float erf_given(float x, float e) {
  const float a = abs(x);
  const float p =  // erf(x) / x - 1 in x^2 on [0, 1]
      detail::polynomial(x * x, 1.28379107e-01f, -3.761262596e-01f, 1.128360033e-01f,
                         -2.685444430e-02f, 5.189533811e-03f, -8.020825917e-04f, 7.889067638e-05f);
  const float q =  // e^(a^2) (1 - erf(a)) on [0.95, 4], to an error relative to e^(a^2)
      detail::polynomial(a, 9.932474494e-01f, -1.084781528e+00f, 8.733051419e-01f,
                         -5.315775275e-01f, 2.399319708e-01f, -7.708033174e-02f, 1.652337052e-02f,
                         -2.104888903e-03f, 1.199216786e-04f);
  const float large = a > 4.0f ? 1.0f : 1.0f - e * q;
  return a < 1.0f ? x + x * p : copysign(large, x);
}
TESSERA_HD inline double erf_given(double x, double) { return std::erf(x); }

TESSERA_HD inline float erf(float x) {
  // Inside [-4, 4] e^(-x^2) needs none of exp's care; outside it is not looked at.
  const auto [r, n] = detail::split_exp(-x * x);
  return erf_given(x, detail::exp_near_0(r) * detail::pow2(n));
}
TESSERA_HD inline double erf(double x) { return std::erf(x); }

namespace detail {
// x in two parts whose sum it is, the upper of 12 bits: products of upper parts are exact.
struct Halves {
  float upper, lower;
};
TESSERA_HD inline Halves halves(float x) {
  const float upper = from_bits(bits_of(x) & 0xFFFFF000u);
  return {upper, x - upper};
}

// log2 of a positive normal number as the sum of two floats, to some 2^-32 of itself: pow
// multiplies its error by an exponent of up to 150 / log2. For scaled = 2^e m, m in [sqrt(1/2),
// sqrt(2)), it is e + 2 / ln 2 (s + s^3 / 3 + ...) with s = (m - 1) / (m + 1).
TESSERA_HD inline Halves log2_normal(float scaled, float shift) {
  const uint32_t u = bits_of(scaled) - 0x3F3504F3u;
  const float e = static_cast<float>(static_cast<int32_t>(u) >> 23) + shift;
  const float m = from_bits((u & 0x007FFFFFu) + 0x3F3504F3u);
  const float f = m - 1.0f, inverse = 1.0f / (m + 1.0f), s = f * inverse, z = s * s;
  const auto [s1, s2] = halves(s);
  const float m1 = halves(m + 1.0f).upper, m2 = m - (m1 - 1.0f);
  const float rest = (((f - s1 * m1) - s1 * m2) - s2 * (m1 + m2)) * inverse;  // what s lacks
  const float p =
      polynomial(z, 9.617967010e-01f, 5.770828724e-01f, 4.117063284e-01f, 3.402185738e-01f);
  const float k1 = 2.884765625f, k2 = 6.24456778e-04f;  // 2 / ln 2
  const float small = s * z * p + (2.88539008f * (rest + rest * z) + (k1 * s2 + k2 * s));
  const float sum = e + k1 * s1;
  return {sum, (k1 * s1 - (sum - e)) + small};
}

// 2^(a + b), b small against a; 0 below -152, infinity above 129.
TESSERA_HD inline float exp2_sum(float a, float b) {
  const float p = a + b, shifted = p + kRoundMagic;
  const float r = (a - (shifted - kRoundMagic)) + b;
  const float q = polynomial(r, 6.931471825e-01f, 2.402264774e-01f, 5.550332367e-02f,
                             9.618437849e-03f, 1.339890063e-03f, 1.535334013e-04f);
  const uint32_t n = bits_of(shifted) - bits_of(kRoundMagic);
  const uint32_t half = static_cast<uint32_t>(static_cast<int32_t>(n) >> 1);
  const float y = (1.0f + r * q) * pow2(half) * pow2(n - half);
  const float above = p > 129.0f ? from_bits(0x7F800000u) : y;
  return p < -152.0f ? 0.0f : above;
}
}  // namespace detail

/// x^y with std::pow's special cases.
TESSERA_HD inline float pow(float x, float y) {
  constexpr uint32_t kInf = 0x7F800000u, kNan = 0x7FC00000u, kOne = 0x3F800000u;
  // What y alone decides, as masks made without a branch: g++ would weave conditions on what does
  // not change in a loop into the loop, and not vectorise it.
  const float half = 0.5f * y;
  const uint32_t whole = std::rint(y) == y ? ~0u : 0u;
  const uint32_t odd = std::rint(half) == half ? 0u : whole;
  const uint32_t negative = 0u - (detail::bits_of(y) >> 31), most = 0x53800000u;
  const uint32_t y_bits = detail::bits_of(y) & 0x7FFFFFFFu;
  const uint32_t zero = 0u - ((y_bits - 1u) >> 31), unknown = 0u - ((kInf - y_bits) >> 31);
  // Beyond 2^40 the power of any number but 1 is 0 or infinity.
  const uint32_t beyond = 0u - ((most - y_bits) >> 31), y_sign = negative & 0x80000000u;
  const auto [y1, y2] = detail::halves(
      detail::from_bits((y_bits & ~beyond) | (most & beyond) | (unknown & kNan) | y_sign));

  const float a = abs(x);
  const bool tiny = a < 1.17549435e-38f;
  const auto [log_a, log_rest] =  // 2^25 lifts denormals
      detail::log2_normal(tiny ? a * 33554432.0f : a, tiny ? -25.0f : 0.0f);
  const float log2_a = log_a + log_rest, l1 = detail::halves(log2_a).upper;
  const float l2 = (log_a - l1) + log_rest;
  const float power = detail::exp2_sum(y1 * l1, y1 * l2 + y2 * log2_a);
  // a is 0, infinity or NaN: kInf - bits, made by ~bits + 1, swaps the first two.
  const uint32_t bits = detail::bits_of(a);
  const uint32_t end = (((bits ^ negative) + (negative & (kInf + 1u))) | (unknown & kNan)) & ~zero;
  const float size = bits - 1u < kInf - 1u ? power : detail::from_bits(end | (zero & kOne));
  // Powers of negative numbers: a sign, or none at all.
  const uint32_t sign = odd & 0x80000000u & detail::bits_of(x);
  const uint32_t undefined = detail::bits_of(x) - 0x80000001u < kInf - 1u ? ~whole & kNan : 0u;
  return detail::from_bits((bits == kOne ? kOne : detail::bits_of(size)) | sign | undefined);
}
TESSERA_HD inline double pow(double x, double y) { return std::pow(x, y); }

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

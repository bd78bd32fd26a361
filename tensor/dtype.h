#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "tensor/error.h"
#include "tensor/macros.h"

namespace tessera {

enum class DType : uint8_t { f32, f64, f16, bf16, i64, i32, u8, boolean };
inline constexpr int kDTypeCount = 8;

/// IEEE binary16 storage; arithmetic goes through float.
struct Half {
  uint16_t bits = 0;
  Half() = default;
  TESSERA_HD explicit Half(float value);
  TESSERA_HD operator float() const;
};

/// bfloat16 storage (the upper half of a float, rounded to nearest even); arithmetic goes through
/// float.
struct BFloat16 {
  uint16_t bits = 0;
  BFloat16() = default;
  TESSERA_HD explicit BFloat16(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    const bool nan = (u & 0x7FFFFFFFu) > 0x7F800000u;
    bits = nan ? static_cast<uint16_t>(u >> 16 | 0x40u)
               : static_cast<uint16_t>((u + 0x7FFFu + (u >> 16 & 1u)) >> 16);
  }
  TESSERA_HD operator float() const { return std::bit_cast<float>(uint32_t{bits} << 16); }
};

// By bits, because clang 14 knows _Float16 on few x86 targets.
TESSERA_HD inline Half::Half(float value) {
  const uint32_t u = std::bit_cast<uint32_t>(value);
  const uint32_t sign = u >> 16 & 0x8000u, magnitude = u & 0x7FFFFFFFu;
  uint32_t h;
  if (magnitude > 0x7F800000u) {
    h = 0x7E00u;  // NaN
  } else if (magnitude >= 0x477FF000u) {
    h = 0x7C00u;  // rounds to infinity
  } else if (magnitude < 0x38800000u) {
    // Subnormal: adding 1/2 moves the result's bits to the end of the significand, rounded to even.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    h = std::bit_cast<uint32_t>(shifted) - 0x3F000000u;
  } else {
    h = (magnitude - 0x38000000u + 0xFFFu + (magnitude >> 13 & 1u)) >> 13;
  }
  bits = static_cast<uint16_t>(sign | h);
}
TESSERA_HD inline Half::operator float() const {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16, magnitude = bits & 0x7FFFu;
  uint32_t u;
  if (magnitude >= 0x7C00u) {
    u = (magnitude << 13) + 0x70000000u;  // infinity and NaN
  } else if (magnitude < 0x0400u) {
    u = std::bit_cast<uint32_t>(static_cast<float>(magnitude) * 0x1p-24f);
  } else {
    u = (magnitude << 13) + 0x38000000u;
  }
  return std::bit_cast<float>(sign | u);
}

/// Bytes per element.
constexpr int64_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f16:
    case DType::bf16:
      return 2;
    default:
      return 1;
  }
}
constexpr bool is_floating(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f64 || dtype == DType::f16 || dtype == DType::bf16;
}
/// "f32", "f64", "f16", "bf16", "i64", "i32", "u8", "bool".
std::string_view to_string(DType dtype);
std::ostream& operator<<(std::ostream& out, DType dtype);
/// The dtype of a mixed expression: floating over integer over bool, then the wider; f16 with bf16
/// gives f32.
DType promote(DType a, DType b);

template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) return DType::f32;
  if constexpr (std::is_same_v<T, double>) return DType::f64;
  if constexpr (std::is_same_v<T, Half>) return DType::f16;
  if constexpr (std::is_same_v<T, BFloat16>) return DType::bf16;
  if constexpr (std::is_same_v<T, int64_t>) return DType::i64;
  if constexpr (std::is_same_v<T, int32_t>) return DType::i32;
  if constexpr (std::is_same_v<T, uint8_t>) return DType::u8;
  if constexpr (std::is_same_v<T, bool>) return DType::boolean;
}

/// The type a kernel computes in: float for the half types, otherwise T itself.
template <class T>
using compute_t =
    std::conditional_t<std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>, float, T>;

/// Calls fn.template operator()<T>() with the C++ type of `dtype` among Ts; throws DTypeError
/// naming `op` otherwise.
template <class... Ts, class Fn>
decltype(auto) dispatch(DType dtype, std::string_view op, Fn&& fn) {
  using First = std::tuple_element_t<0, std::tuple<Ts...>>;
  using Result = decltype(fn.template operator()<First>());
  if constexpr (std::is_void_v<Result>) {
    const bool done =
        ((dtype == dtype_of<Ts>() ? (fn.template operator()<Ts>(), true) : false) || ...);
    TESSERA_CHECK(DTypeError, done, op, ": dtype ", to_string(dtype), " is not supported");
  } else {
    Result result{};
    const bool done =
        ((dtype == dtype_of<Ts>() ? (result = fn.template operator()<Ts>(), true) : false) || ...);
    TESSERA_CHECK(DTypeError, done, op, ": dtype ", to_string(dtype), " is not supported");
    return result;
  }
}
/// f32 and f64: the dtypes that every differentiable operator supports.
template <class Fn>
decltype(auto) dispatch_float(DType dtype, std::string_view op, Fn&& fn) {
  return dispatch<float, double>(dtype, op, std::forward<Fn>(fn));
}
/// f32, f64, f16, bf16.
template <class Fn>
decltype(auto) dispatch_floating(DType dtype, std::string_view op, Fn&& fn) {
  return dispatch<float, double, Half, BFloat16>(dtype, op, std::forward<Fn>(fn));
}
/// Every dtype.
template <class Fn>
decltype(auto) dispatch_all(DType dtype, std::string_view op, Fn&& fn) {
  return dispatch<float, double, Half, BFloat16, int64_t, int32_t, uint8_t, bool>(
      dtype, op, std::forward<Fn>(fn));
}
/// Every dtype but bool: what arithmetic and comparison support.
template <class Fn>
decltype(auto) dispatch_number(DType dtype, std::string_view op, Fn&& fn) {
  return dispatch<float, double, Half, BFloat16, int64_t, int32_t, uint8_t>(dtype, op,
                                                                            std::forward<Fn>(fn));
}

}  // namespace tessera

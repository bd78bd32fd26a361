#include <cmath>
#include <complex>
#include <cstring>
#include <limits>
#include <type_traits>

#include "io/npy_header.h"
#include "io/npz.h"
#include "tensor/dtype.h"
#include "tensor/error.h"

namespace tessera::io {
namespace {

template <class T>
struct IsComplex : std::false_type {};
template <class T>
struct IsComplex<std::complex<T>> : std::true_type {};

template <class T>
constexpr const char* npy_name() {
  if constexpr (std::is_same_v<T, std::complex<float>>) return "c8";
  if constexpr (std::is_same_v<T, std::complex<double>>) return "c16";
  if constexpr (std::is_floating_point_v<T>) return sizeof(T) == 4 ? "f4" : "f8";
  constexpr const char* kNames[2][4] = {{"u1", "u2", "u4", "u8"}, {"i1", "i2", "i4", "i8"}};
  constexpr int kLog = sizeof(T) == 1 ? 0 : sizeof(T) == 2 ? 1 : sizeof(T) == 4 ? 2 : 3;
  return kNames[std::is_signed_v<T>][kLog];
}

// A floating value fits an integer type if it lies in [lowest, 2^digits) and has no fraction. Both
// bounds are powers of two (or 0), exact in every floating type.
template <class To, class From>
bool representable(From v) {
  if constexpr (std::is_floating_point_v<From>) {
    const From end = std::ldexp(From{1}, std::numeric_limits<To>::digits);
    return v >= static_cast<From>(std::numeric_limits<To>::lowest()) && v < end &&
           std::trunc(v) == v;
  } else {
    return std::in_range<To>(v);
  }
}

template <class To, class From>
To convert(From v) {
  if constexpr (IsComplex<To>::value && IsComplex<From>::value) {
    return To(v);
  } else if constexpr (IsComplex<To>::value) {
    return To(static_cast<typename To::value_type>(v));
  } else if constexpr (IsComplex<From>::value) {
    throw DTypeError("NpyArray: a complex array cannot be converted to a real type");
  } else if constexpr (std::is_integral_v<To>) {
    TESSERA_CHECK(ValueError, (representable<To>(v)), "NpyArray: value ", +v,
                  " cannot be represented as ", npy_name<To>());
    return static_cast<To>(v);
  } else {
    return static_cast<To>(v);
  }
}

template <class To, class Stored, class Decode>
std::vector<To> convert_all(const NpyArray& array, Decode decode) {
  std::vector<To> out;
  out.reserve(array.bytes.size() / sizeof(Stored));
  for (size_t at = 0; at < array.bytes.size(); at += sizeof(Stored)) {
    Stored v;
    std::memcpy(&v, array.bytes.data() + at, sizeof v);
    out.push_back(convert<To>(decode(v)));
  }
  return out;
}

template <class To, class From>
std::vector<To> convert_all(const NpyArray& array) {
  if constexpr (std::is_same_v<To, From>) {
    std::vector<To> out(array.bytes.size() / sizeof(To));
    if (!out.empty()) std::memcpy(out.data(), array.bytes.data(), array.bytes.size());
    return out;
  } else {
    return convert_all<To, From>(array, [](From v) { return v; });
  }
}

}  // namespace

int64_t NpyArray::item_size() const {
  const int64_t size = detail::npy_item_size(dtype);
  TESSERA_CHECK(DTypeError, size > 0, "NpyArray: unknown dtype '", dtype, "'");
  return size;
}

int64_t NpyArray::numel() const {
  uint64_t count = 0;
  TESSERA_CHECK(ShapeError, detail::npy_byte_count(shape, 1, count),
                "NpyArray: a negative extent, or too many elements to count");
  return static_cast<int64_t>(count);
}

template <class T>
std::vector<T> NpyArray::as() const {
  uint64_t expected = 0;
  TESSERA_CHECK(ShapeError,
                detail::npy_byte_count(shape, item_size(), expected) && expected == bytes.size(),
                "NpyArray: ", bytes.size(), " bytes do not fit the shape");
  if (dtype == "f2") {
    return convert_all<T, uint16_t>(*this, [](uint16_t bits) {
      Half half;
      half.bits = bits;
      return static_cast<float>(half);
    });
  }
  if (dtype == "b1")
    return convert_all<T, uint8_t>(*this, [](uint8_t v) { return uint8_t(v != 0); });
  if (dtype == "f4") return convert_all<T, float>(*this);
  if (dtype == "f8") return convert_all<T, double>(*this);
  if (dtype == "i1") return convert_all<T, int8_t>(*this);
  if (dtype == "i2") return convert_all<T, int16_t>(*this);
  if (dtype == "i4") return convert_all<T, int32_t>(*this);
  if (dtype == "i8") return convert_all<T, int64_t>(*this);
  if (dtype == "u1") return convert_all<T, uint8_t>(*this);
  if (dtype == "u2") return convert_all<T, uint16_t>(*this);
  if (dtype == "u4") return convert_all<T, uint32_t>(*this);
  if (dtype == "u8") return convert_all<T, uint64_t>(*this);
  if (dtype == "c8") return convert_all<T, std::complex<float>>(*this);
  return convert_all<T, std::complex<double>>(*this);
}

template <class T>
NpyArray NpyArray::from(std::span<const T> values, std::vector<int64_t> shape) {
  NpyArray array{npy_name<T>(), std::move(shape), {}};
  TESSERA_CHECK(ShapeError, array.numel() == static_cast<int64_t>(values.size()),
                "NpyArray: ", values.size(), " values do not fit a shape of ", array.numel(),
                " elements");
  const auto bytes = std::as_bytes(values);
  array.bytes.assign(bytes.begin(), bytes.end());
  return array;
}

#define TESSERA_NPY_TYPE(T)                        \
  template std::vector<T> NpyArray::as<T>() const; \
  template NpyArray NpyArray::from<T>(std::span<const T>, std::vector<int64_t>);
TESSERA_NPY_TYPE(float)
TESSERA_NPY_TYPE(double)
TESSERA_NPY_TYPE(int8_t)
TESSERA_NPY_TYPE(int16_t)
TESSERA_NPY_TYPE(int32_t)
TESSERA_NPY_TYPE(int64_t)
TESSERA_NPY_TYPE(uint8_t)
TESSERA_NPY_TYPE(uint16_t)
TESSERA_NPY_TYPE(uint32_t)
TESSERA_NPY_TYPE(uint64_t)
TESSERA_NPY_TYPE(std::complex<float>)
TESSERA_NPY_TYPE(std::complex<double>)
#undef TESSERA_NPY_TYPE

}  // namespace tessera::io

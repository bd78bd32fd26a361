#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::io {

/// One NumPy array in host memory, always little-endian and in C (row-major) order.
///   dtype   kind and bytes per element: "f2" "f4" "f8", "i1" "i2" "i4" "i8", "u1" "u2" "u4" "u8",
///           "b1" (bool, one byte), "c8" "c16" (complex: real part, then imaginary part)
///   shape   extents, each >= 0; empty for a scalar (one element)
///   bytes   numel() * item_size() bytes
struct NpyArray {
  std::string dtype;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;

  /// Product of the extents.
  int64_t numel() const;
  /// Bytes per element of `dtype`. Throws DTypeError for an unknown one.
  int64_t item_size() const;

  /// All elements as T: float, double, (u)int8_t .. (u)int64_t, or std::complex of float or double.
  /// To a floating type: rounded to nearest. To an integer: exact; ValueError if a value has a
  /// fraction, is NaN or is out of T's range. bool gives 0 or 1. Real to complex has imaginary part
  /// 0; complex to real is a DTypeError. ShapeError if `bytes` does not fit `shape`.
  template <class T>
  std::vector<T> as() const;

  /// An array of T (the types of `as`) holding `values`. ShapeError if their number is not the
  /// product of `shape`.
  template <class T>
  static NpyArray from(std::span<const T> values, std::vector<int64_t> shape);

  bool operator==(const NpyArray&) const = default;
};

/// Bounds on what a reader accepts, checked before memory is committed. A small archive can expand
/// a thousandfold: raise them for large files that you trust.
struct NpyLimits {
  uint64_t max_array_bytes = uint64_t{1} << 31;  ///< one array, uncompressed, header included
  uint64_t max_total_bytes = uint64_t{1} << 31;  ///< all arrays of an .npz together
  uint64_t max_entries = uint64_t{1} << 16;
};

/// Parses the whole content of a .npy file: format versions 1.0 to 3.0, both element orders and
/// both byte orders. Pickled objects, strings and structured types are refused, as are bytes
/// missing or left over. Throws IoError starting with `name`.
NpyArray parse_npy(std::span<const std::byte> content, std::string_view name,
                   const NpyLimits& limits = {});

/// Reads a .npy file. Throws IoError naming the file.
NpyArray read_npy(const std::filesystem::path& path, const NpyLimits& limits = {});

/// Reads a .npz file (a zip of .npy entries, stored or deflated): array name -> array, the name
/// being the entry's without ".npy". Throws IoError naming file and entry for a damaged archive
/// (checksums are verified), encrypted or otherwise compressed entries, an entry not ending in
/// ".npy", a name used twice, entries that together
/// claim more bytes than the file has, and anything beyond `limits`.
std::map<std::string, NpyArray> read_npz(const std::filesystem::path& path,
                                         const NpyLimits& limits = {});

/// The content of a .npy file, version 1.0, data aligned to 64 bytes. Throws DTypeError or
/// ShapeError for an inconsistent array.
std::string to_npy(const NpyArray& array);

/// Writes one array, atomically. Throws as to_npy, and IoError naming the file.
void write_npy(const std::filesystem::path& path, const NpyArray& array);

/// Writes an .npz with stored (uncompressed) entries in the order of the map, atomically. The same
/// arrays give the same bytes (no time stamps). Throws as write_npy; ValueError for a name that is
/// empty or longer than 65,000 bytes.
void write_npz(const std::filesystem::path& path, const std::map<std::string, NpyArray>& arrays);

}  // namespace tessera::io

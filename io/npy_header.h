#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::io::detail {

/// What precedes the data of a .npy file.
struct NpyHeader {
  std::string dtype;  ///< kind and size, without byte order: "f4"
  bool big_endian = false;
  bool fortran_order = false;
  std::vector<int64_t> shape;
  size_t data_offset = 0;   ///< bytes before the data
  uint64_t data_bytes = 0;  ///< product of the shape times the element size
};

/// Bytes per element, 0 if `dtype` is not one that .npy files may hold here.
int64_t npy_item_size(std::string_view dtype);

/// Product of `shape` times `item`, or false when it exceeds int64_t or an extent is negative.
bool npy_byte_count(std::span<const int64_t> shape, int64_t item, uint64_t& bytes);

/// Parses magic, version and the Python dict literal, without evaluating anything. `content` may be
/// a prefix of the file that holds the whole header. Throws IoError starting with `name`.
NpyHeader parse_npy_header(std::span<const std::byte> content, std::string_view name);

/// Magic, version 1.0 and dict, padded to a multiple of 64 bytes.
std::string make_npy_header(std::string_view dtype, std::span<const int64_t> shape);

}  // namespace tessera::io::detail

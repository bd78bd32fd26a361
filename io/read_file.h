#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace tessera::io {

/// The whole content of a regular file. Throws IoError naming the file when it cannot be opened or
/// read, is a folder, or holds more than `max_bytes` (checked before allocating).
std::vector<uint8_t> read_file(const std::filesystem::path& path,
                               uint64_t max_bytes = uint64_t{1} << 31);

}  // namespace tessera::io

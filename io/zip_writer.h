#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/atomic_file.h"

namespace tessera::io {

/// Streams a zip archive of stored (uncompressed) entries into a file: nothing is held in memory
/// but the directory. ZIP64 records are added where a size, an offset or the number of entries
/// needs them. No time stamps: the same entries give the same bytes. Source: APPNOTE.TXT 6.3.
class StoredZipWriter {
 public:
  /// `zip64_from`: sizes and offsets from this value on go into ZIP64 records; lower it only to
  /// test those records on small archives.
  explicit StoredZipWriter(AtomicFile& file, uint64_t zip64_from = 0xFFFFFFFFu)
      : file_(file), zip64_from_(zip64_from) {}

  /// Appends one entry whose content is `parts` one after the other. `name` is UTF-8. Throws
  /// ValueError for a name that is empty or longer than 65,000 bytes, IoError from the file. Names
  /// are not checked for repetition.
  void add(std::string_view name, std::initializer_list<std::span<const std::byte>> parts);

  /// Writes the central directory. Called once, last; the caller then commits the file.
  void finish();

 private:
  struct Entry {
    std::string name;
    uint64_t size;
    uint64_t offset;
    uint32_t crc;
  };

  AtomicFile& file_;
  uint64_t zip64_from_;
  std::vector<Entry> entries_;
};

}  // namespace tessera::io

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace tessera::io {

/// A regular file read from its start to its end. Every failure throws IoError naming the file.
class InputFile {
 public:
  /// Throws when it cannot be opened or is a folder, pipe or device (without waiting for one).
  explicit InputFile(const std::filesystem::path& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  /// Bytes in the file when it was opened.
  uint64_t size() const { return size_; }

  /// The next out.size() bytes. Throws when fewer are left.
  void read(std::span<std::byte> out);
  /// The out.size() bytes from `offset` on; read() goes on where it was.
  void read_at(uint64_t offset, std::span<std::byte> out) const;

 private:
  template <class Read>
  void read_with(Read read, std::span<std::byte> out) const;

  std::filesystem::path path_;
  uint64_t size_ = 0;
  int fd_ = -1;
};

/// The whole content of a regular file. Throws as InputFile, and when it holds more than
/// `max_bytes` (checked before allocating).
std::vector<uint8_t> read_file(const std::filesystem::path& path,
                               uint64_t max_bytes = uint64_t{1} << 31);

}  // namespace tessera::io

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace tessera::io {

/// A file that appears under its name only when it is complete. Bytes go to a temporary file in the
/// same folder; `commit` flushes it to the disk and renames it over `path`, so a reader (or a
/// crash) sees either the old file or the whole new one. Without a commit the destructor removes
/// the temporary file and `path` is untouched. Not thread-safe.
///
/// An existing file keeps its permission bits; a symbolic link is followed, so its target is
/// replaced. Every failure throws IoError naming `path` and the system's reason.
class AtomicFile {
 public:
  /// Creates the temporary file. The folder must exist; `path` may exist as a regular file only.
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Appends bytes (buffered). Throws IoError on a full disk, also later from `commit`.
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }

  /// Bytes written so far.
  uint64_t size() const { return size_; }

  /// Flush, fsync, rename, fsync of the folder. Called once; `write` must not follow.
  void commit();

 private:
  void flush();
  void put(std::span<const std::byte> bytes);
  [[noreturn]] void fail(const char* action) const;

  std::filesystem::path path_;    // as given, for messages
  std::filesystem::path target_;  // links resolved
  std::filesystem::path temporary_;
  std::vector<std::byte> buffer_;
  uint64_t size_ = 0;
  int fd_ = -1;
};

/// Writes a whole file through AtomicFile.
void write_file_atomic(const std::filesystem::path& path, std::span<const std::byte> bytes);
void write_file_atomic(const std::filesystem::path& path, std::string_view text);

}  // namespace tessera::io

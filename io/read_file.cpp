#include "io/read_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tensor/error.h"

namespace tessera::io {

InputFile::InputFile(const std::filesystem::path& path) : path_(path) {
  // O_NONBLOCK: opening a pipe that nobody writes to must not hang.
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  TESSERA_CHECK(IoError, fd_ >= 0, path.string(), ": cannot open: ", std::strerror(errno));
  struct stat info = {};
  const int failed = ::fstat(fd_, &info);
  const int code = errno;
  if (failed || !S_ISREG(info.st_mode)) {
    ::close(fd_);
    throw IoError(failed ? cat(path.string(), ": cannot read: ", std::strerror(code))
                         : cat(path.string(), ": not a regular file"));
  }
  size_ = static_cast<uint64_t>(info.st_size);
}

InputFile::~InputFile() { ::close(fd_); }

template <class Read>
void InputFile::read_with(Read read, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t n = read(out);
    if (n < 0 && errno == EINTR) continue;
    TESSERA_CHECK(IoError, n >= 0, path_.string(), ": cannot read: ", std::strerror(errno));
    TESSERA_CHECK(IoError, n > 0, path_.string(), ": ends ", out.size(), " bytes early");
    out = out.subspan(static_cast<size_t>(n));
  }
}

void InputFile::read(std::span<std::byte> out) {
  read_with([&](std::span<std::byte> rest) { return ::read(fd_, rest.data(), rest.size()); }, out);
}

void InputFile::read_at(uint64_t offset, std::span<std::byte> out) const {
  const uint64_t end = offset + out.size();
  read_with(
      [&](std::span<std::byte> rest) {
        return ::pread(fd_, rest.data(), rest.size(), static_cast<off_t>(end - rest.size()));
      },
      out);
}

std::vector<uint8_t> read_file(const std::filesystem::path& path, uint64_t max_bytes) {
  InputFile file(path);
  TESSERA_CHECK(IoError, file.size() <= max_bytes, path.string(), ": ", file.size(),
                " bytes, more than the limit of ", max_bytes);
  std::vector<uint8_t> bytes(file.size());
  file.read(std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

}  // namespace tessera::io

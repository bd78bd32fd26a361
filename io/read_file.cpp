#include "io/read_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tensor/error.h"

namespace tessera::io {
namespace {

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

}  // namespace

std::vector<uint8_t> read_file(const std::filesystem::path& path, uint64_t max_bytes) {
  // O_NONBLOCK: opening a pipe that nobody writes to must not hang.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  TESSERA_CHECK(IoError, file.fd >= 0, path.string(), ": cannot open: ", std::strerror(errno));
  struct stat info = {};
  TESSERA_CHECK(IoError, ::fstat(file.fd, &info) == 0, path.string(),
                ": cannot read: ", std::strerror(errno));
  TESSERA_CHECK(IoError, S_ISREG(info.st_mode), path.string(), ": not a regular file");
  const uint64_t size = static_cast<uint64_t>(info.st_size);
  TESSERA_CHECK(IoError, size <= max_bytes, path.string(), ": ", size,
                " bytes, more than the limit of ", max_bytes);
  std::vector<uint8_t> bytes(size);
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::read(file.fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    TESSERA_CHECK(IoError, n >= 0, path.string(), ": cannot read: ", std::strerror(errno));
    if (n == 0) break;  // shortened while being read: the parser reports what is missing
    done += static_cast<size_t>(n);
  }
  bytes.resize(done);
  return bytes;
}

}  // namespace tessera::io

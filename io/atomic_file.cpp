#include "io/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "tensor/error.h"

namespace tessera::io {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 16;

std::filesystem::path temporary_name(const std::filesystem::path& target) {
  static std::atomic<uint64_t> counter{0};
  // Cut, because a name may have 255 bytes.
  const std::string stem = target.filename().string().substr(0, 200);
  const std::string name = cat(".", stem, ".", ::getpid(), ".", counter.fetch_add(1), ".tmp");
  return target.parent_path() / name;
}

/// A rename is durable once the folder itself is on disk. File systems that cannot sync a folder
/// answer EINVAL; that is no reason to fail a complete write.
void sync_folder(const std::filesystem::path& folder) {
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

}  // namespace

AtomicFile::AtomicFile(const std::filesystem::path& path) : path_(path), target_(path) {
  std::error_code error;
  if (std::filesystem::is_symlink(path, error)) {
    // A link to a missing file resolves too: weakly_canonical keeps the missing tail.
    target_ = std::filesystem::weakly_canonical(path, error);
    TESSERA_CHECK(IoError, !error, path.string(), ": cannot resolve the link: ", error.message());
  }
  TESSERA_CHECK(IoError, target_.has_filename(), "'", path.string(),
                "': expected a file name, got a folder or nothing");
  struct stat info = {};
  const bool exists = ::stat(target_.c_str(), &info) == 0;
  // Renaming over /dev/null or a pipe would replace the device itself.
  TESSERA_CHECK(IoError, !exists || S_ISREG(info.st_mode), path.string(),
                ": exists and is not a regular file");
  buffer_.reserve(kBufferBytes);
  // A name may be taken: by a process that was killed, when process numbers repeat (containers) or
  // two machines share the folder.
  for (int attempt = 0; fd_ < 0 && attempt < 10000; ++attempt) {
    temporary_ = temporary_name(target_);
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0 && errno != EEXIST) break;
  }
  if (fd_ < 0) fail("cannot create a temporary file beside it");
  if (exists) ::fchmod(fd_, info.st_mode & 07777);  // best effort
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::fail(const char* action) const {
  const int code = errno;
  throw IoError(cat(path_.string(), ": ", action, ": ", std::strerror(code)));
}

void AtomicFile::put(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int code = errno;
      ::close(std::exchange(fd_, -1));  // what follows a gap must not be committed
      errno = code;
      fail("cannot write");
    }
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
}

void AtomicFile::flush() {
  put(buffer_);
  buffer_.clear();
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  TESSERA_CHECK(IoError, fd_ >= 0, path_.string(), ": write after commit or a failed write");
  size_ += bytes.size();
  if (buffer_.size() + bytes.size() > kBufferBytes) flush();
  if (bytes.size() >= kBufferBytes) return put(bytes);
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

void AtomicFile::commit() {
  TESSERA_CHECK(IoError, fd_ >= 0, path_.string(), ": commit called twice or after a failed write");
  flush();
  if (::fsync(fd_) != 0 && errno != EINVAL && errno != ENOTSUP) fail("cannot flush to disk");
  // Network file systems report a late write error here.
  if (::close(std::exchange(fd_, -1)) != 0) fail("cannot close");
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail("cannot rename into place");
  temporary_.clear();
  sync_folder(target_.parent_path());
}

void write_file_atomic(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void write_file_atomic(const std::filesystem::path& path, std::string_view text) {
  write_file_atomic(path, std::as_bytes(std::span(text)));
}

}  // namespace tessera::io

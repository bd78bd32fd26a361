#include "data/idx.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace tessera::data {
namespace {

namespace fs = std::filesystem;

/// zlib's file reader: inflates gzip and passes other content through.
class GzReader {
 public:
  explicit GzReader(const fs::path& path) : name_(path.string()) {
    std::error_code error;
    TESSERA_CHECK(IoError, fs::exists(path, error), name_, ": no such file");
    TESSERA_CHECK(IoError, fs::is_regular_file(path, error), name_, ": not a regular file");
    file_ = gzopen(path.c_str(), "rb");
    TESSERA_CHECK(IoError, file_, name_, ": cannot open: ", std::strerror(errno));
    gzbuffer(file_, 1 << 17);
  }
  ~GzReader() { gzclose_r(file_); }
  GzReader(const GzReader&) = delete;
  GzReader& operator=(const GzReader&) = delete;

  /// Up to `count` bytes; fewer only at the end. IoError for a damaged or cut-off stream.
  size_t read(uint8_t* out, size_t count) {
    const int n = gzread(file_, out, static_cast<unsigned>(count));
    int code = Z_OK;
    const char* message = gzerror(file_, &code);
    TESSERA_CHECK(IoError, n >= 0 && (code == Z_OK || code == Z_STREAM_END), name_,
                  ": damaged gzip stream: ", message);
    return static_cast<size_t>(n);
  }

 private:
  std::string name_;
  gzFile file_ = nullptr;
};

}  // namespace

IdxArray read_idx(const fs::path& path, int64_t max_values) {
  const std::string name = path.string();
  GzReader file(path);
  uint8_t head[4];
  TESSERA_CHECK(IoError, file.read(head, 4) == 4, name, ": truncated IDX header");
  TESSERA_CHECK(IoError, head[0] == 0 && head[1] == 0 && head[2] == 8, name,
                ": not an IDX file of unsigned bytes (magic ", int{head[0]}, " ", int{head[1]}, " ",
                int{head[2]}, ", expected 0 0 8)");
  TESSERA_CHECK(IoError, head[3] >= 1 && head[3] <= 4, name, ": IDX rank ", int{head[3]},
                " (expected 1 to 4)");
  IdxArray array;
  int64_t count = 1;
  for (int axis = 0; axis < head[3]; ++axis) {
    uint8_t b[4];
    TESSERA_CHECK(IoError, file.read(b, 4) == 4, name, ": truncated IDX header");
    const int64_t size =
        int64_t{b[0]} << 24 | int64_t{b[1]} << 16 | int64_t{b[2]} << 8 | int64_t{b[3]};
    TESSERA_CHECK(IoError, size > 0 && size <= max_values / count, name, ": IDX axis ", axis,
                  " of size ", size, " (expected at least 1 and at most ", max_values,
                  " values in all)");
    array.shape.push_back(size);
    count *= size;
  }
  constexpr size_t kStep = size_t{1} << 22;
  const size_t total = static_cast<size_t>(count);
  while (array.values.size() < total) {
    const size_t at = array.values.size(), step = std::min(kStep, total - at);
    array.values.resize(at + step);
    const size_t n = file.read(array.values.data() + at, step);
    TESSERA_CHECK(IoError, n == step, name, ": truncated, expected ", total, " values, got ",
                  at + n);
  }
  uint8_t surplus;
  TESSERA_CHECK(IoError, file.read(&surplus, 1) == 0, name, ": more data than the header's ", total,
                " values");
  return array;
}

std::shared_ptr<MemoryDataset> load_mnist(const fs::path& folder, bool train, Pipeline pipeline) {
  const auto read = [&](const char* kind) {
    const std::string stem = cat(train ? "train" : "t10k", "-", kind, "-ubyte");
    std::error_code error;
    const bool plain = fs::exists(folder / stem, error);
    return read_idx(folder / (plain ? stem : stem + ".gz"));
  };
  const IdxArray images = read("images-idx3"), labels = read("labels-idx1");
  TESSERA_CHECK(IoError, images.shape.size() == 3 && labels.shape.size() == 1, folder.string(),
                ": expected images of rank 3 and labels of rank 1, got ", images.shape.size(),
                " and ", labels.shape.size());
  TESSERA_CHECK(IoError, images.shape[0] == labels.shape[0], folder.string(), ": ", images.shape[0],
                " images but ", labels.shape[0], " labels");
  std::vector<Image> list;
  list.reserve(labels.values.size());
  const int64_t height = images.shape[1], width = images.shape[2];
  for (size_t i = 0; i < labels.values.size(); ++i) {
    TESSERA_CHECK(IoError, labels.values[i] <= 9, folder.string(), ": label ",
                  int{labels.values[i]}, " of image ", i, " is outside 0 to 9");
    Image image(height, width, 1);
    std::copy_n(images.values.data() + i * image.pixels.size(), image.pixels.size(),
                image.pixels.begin());
    list.push_back(std::move(image));
  }
  return std::make_shared<MemoryDataset>(
      std::move(list), std::vector<int64_t>(labels.values.begin(), labels.values.end()),
      std::move(pipeline), cat(folder.string(), train ? " (train)" : " (test)"));
}

}  // namespace tessera::data

#include "io/npz.h"

#include <zip.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>

#include "io/atomic_file.h"
#include "io/npy_header.h"
#include "io/read_file.h"
#include "io/zip_writer.h"
#include "tensor/error.h"

namespace tessera::io {
namespace {

static_assert(std::endian::native == std::endian::little, "NpyArray keeps little-endian bytes");

constexpr size_t kChunk = size_t{1} << 20;
// Deflate cannot expand more than this; a directory that claims otherwise lies.
constexpr uint64_t kMaxInflation = 1032;

// Reverses the bytes of every element; the two parts of a complex number are separate elements.
void swap_bytes(NpyArray& array) {
  const size_t item = static_cast<size_t>(array.item_size());
  const size_t unit = array.dtype[0] == 'c' ? item / 2 : item;
  for (size_t at = 0; at + unit <= array.bytes.size(); at += unit)
    std::reverse(array.bytes.begin() + static_cast<ptrdiff_t>(at),
                 array.bytes.begin() + static_cast<ptrdiff_t>(at + unit));
}

// Column-major bytes to row-major: walks the output in order with an odometer over `shape`.
std::vector<std::byte> to_c_order(std::span<const std::byte> in, std::span<const int64_t> shape,
                                  size_t item) {
  std::vector<std::byte> out(in.size());
  const size_t axes = shape.size();
  std::vector<size_t> stride(axes), index(axes, 0);
  size_t step = item;
  for (size_t a = 0; a < axes; ++a) {
    stride[a] = step;
    step *= static_cast<size_t>(shape[a]);
  }
  size_t from = 0;
  for (size_t to = 0; to < out.size(); to += item) {
    std::memcpy(out.data() + to, in.data() + from, item);
    for (size_t a = axes; a-- > 0;) {
      from += stride[a];
      if (++index[a] < static_cast<size_t>(shape[a])) break;
      from -= stride[a] * index[a];
      index[a] = 0;
    }
  }
  return out;
}

void check_array_bytes(uint64_t bytes, std::string_view name, const NpyLimits& limits) {
  TESSERA_CHECK(IoError, bytes <= limits.max_array_bytes, name, ": ", bytes,
                " bytes, more than the limit of ", limits.max_array_bytes);
}

// `content` holds header and data; its buffer becomes the array's where possible.
NpyArray take_npy(std::vector<std::byte> content, std::string_view name) {
  const detail::NpyHeader header = detail::parse_npy_header(content, name);
  const uint64_t present = content.size() - header.data_offset;
  TESSERA_CHECK(IoError, present == header.data_bytes, name, ": the .npy shape needs ",
                header.data_bytes, " bytes of data, found ", present);
  content.erase(content.begin(), content.begin() + static_cast<ptrdiff_t>(header.data_offset));
  NpyArray array{header.dtype, header.shape, std::move(content)};
  const size_t item = static_cast<size_t>(array.item_size());
  if (header.fortran_order && array.shape.size() > 1)
    array.bytes = to_c_order(array.bytes, array.shape, item);
  if (header.big_endian) swap_bytes(array);
  return array;
}

struct ZipCloser {
  void operator()(zip_t* zip) const { zip_discard(zip); }
  void operator()(zip_file_t* file) const { zip_fclose(file); }
};
using Zip = std::unique_ptr<zip_t, ZipCloser>;
using ZipFile = std::unique_ptr<zip_file_t, ZipCloser>;

Zip open_zip(const std::filesystem::path& path) {
  int code = 0;
  Zip zip(zip_open(path.c_str(), ZIP_RDONLY, &code));
  if (!zip) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string reason = zip_error_strerror(&error);
    zip_error_fini(&error);
    throw IoError(cat(path.string(), ": not a readable zip archive: ", reason));
  }
  return zip;
}

// Refuses what is not stored or deflated and sizes that cannot be true, before any allocation.
void check_entry(const zip_stat_t& stat, uint64_t file_size, const std::string& name,
                 const NpyLimits& limits) {
  constexpr zip_uint64_t kNeeded =
      ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
  TESSERA_CHECK(IoError, (stat.valid & kNeeded) == kNeeded, name, ": incomplete directory entry");
  TESSERA_CHECK(IoError, stat.encryption_method == ZIP_EM_NONE, name, ": is encrypted");
  TESSERA_CHECK(IoError, stat.comp_method == ZIP_CM_STORE || stat.comp_method == ZIP_CM_DEFLATE,
                name, ": compression method ", stat.comp_method,
                " is not supported; expected stored or deflated");
  check_array_bytes(stat.size, name, limits);
  TESSERA_CHECK(IoError, stat.comp_size <= file_size, name, ": claims ", stat.comp_size,
                " compressed bytes in a file of ", file_size);
  const bool possible = stat.comp_method == ZIP_CM_STORE
                            ? stat.size == stat.comp_size
                            : stat.size / kMaxInflation <= stat.comp_size;
  TESSERA_CHECK(IoError, possible, name, ": ", stat.comp_size, " bytes cannot hold the claimed ",
                stat.size);
}

std::vector<std::byte> read_entry(zip_t* zip, uint64_t index, uint64_t size,
                                  const std::string& name) {
  ZipFile file(zip_fopen_index(zip, index, 0));
  TESSERA_CHECK(IoError, file, name, ": cannot open: ", zip_strerror(zip));
  std::vector<std::byte> content;
  // Grows with what really arrives; the last read, of one byte more, checks length and checksum.
  while (true) {
    const size_t have = content.size();
    const size_t want = static_cast<size_t>(std::min<uint64_t>(kChunk, size - have + 1));
    if (content.capacity() < have + want)
      content.reserve(static_cast<size_t>(std::min<uint64_t>(size + 1, 2 * have + want)));
    content.resize(have + want);
    const zip_int64_t got = zip_fread(file.get(), content.data() + have, want);
    TESSERA_CHECK(IoError, got >= 0, name, ": damaged: ", zip_file_strerror(file.get()));
    content.resize(have + static_cast<size_t>(got));
    if (got == 0) break;
    TESSERA_CHECK(IoError, content.size() <= size, name, ": longer than the ", size,
                  " bytes its directory entry claims");
  }
  TESSERA_CHECK(IoError, content.size() == size, name, ": ", content.size(), " bytes instead of ",
                size);
  return content;
}

}  // namespace

NpyArray parse_npy(std::span<const std::byte> content, std::string_view name,
                   const NpyLimits& limits) {
  check_array_bytes(content.size(), name, limits);
  return take_npy({content.begin(), content.end()}, name);
}

NpyArray read_npy(const std::filesystem::path& path, const NpyLimits& limits) {
  InputFile file(path);
  check_array_bytes(file.size(), path.string(), limits);
  std::vector<std::byte> content(file.size());
  file.read(content);
  return take_npy(std::move(content), path.string());
}

std::map<std::string, NpyArray> read_npz(const std::filesystem::path& path,
                                         const NpyLimits& limits) {
  const uint64_t file_size = InputFile(path).size();  // refuses folders, pipes and devices
  const Zip zip = open_zip(path);
  const uint64_t count = static_cast<uint64_t>(zip_get_num_entries(zip.get(), 0));
  TESSERA_CHECK(IoError, count <= limits.max_entries, path.string(), ": ", count,
                " entries, more than the limit of ", limits.max_entries);
  std::map<std::string, NpyArray> arrays;
  uint64_t total = 0, compressed = 0;
  for (uint64_t i = 0; i < count; ++i) {
    zip_stat_t stat;
    zip_stat_init(&stat);
    TESSERA_CHECK(IoError,
                  zip_stat_index(zip.get(), i, 0, &stat) == 0 && stat.valid & ZIP_STAT_NAME,
                  path.string(), ": cannot read entry ", i, ": ", zip_strerror(zip.get()));
    const std::string_view entry = stat.name;
    const std::string name = cat(path.string(), " entry '", entry, "'");
    TESSERA_CHECK(IoError, entry.size() > 4 && entry.ends_with(".npy"), name,
                  ": expected a name ending in .npy");
    check_entry(stat, file_size, name, limits);
    total += stat.size;
    TESSERA_CHECK(IoError, total <= limits.max_total_bytes, name,
                  ": the arrays exceed the limit of ", limits.max_total_bytes, " bytes in total");
    compressed += stat.comp_size;
    TESSERA_CHECK(IoError, compressed <= file_size, name, ": entries overlap, ", compressed,
                  " compressed bytes so far in a file of ", file_size);
    const auto [at, fresh] = arrays.try_emplace(std::string(entry.substr(0, entry.size() - 4)));
    TESSERA_CHECK(IoError, fresh, name, ": appears twice");
    at->second = take_npy(read_entry(zip.get(), i, stat.size, name), name);
  }
  return arrays;
}

namespace {

std::string checked_header(const NpyArray& array) {
  uint64_t expected = 0;
  const bool fits = detail::npy_byte_count(array.shape, array.item_size(), expected);
  TESSERA_CHECK(ShapeError, fits && expected == array.bytes.size(), "to_npy: ", array.bytes.size(),
                " bytes do not fit the shape");
  TESSERA_CHECK(ShapeError, array.shape.size() <= 64, "to_npy: ", array.shape.size(),
                " axes, more than the format's 64");
  return detail::make_npy_header(array.dtype, array.shape);
}

}  // namespace

std::string to_npy(const NpyArray& array) {
  std::string out = checked_header(array);
  out.append(reinterpret_cast<const char*>(array.bytes.data()), array.bytes.size());
  return out;
}

void write_npy(const std::filesystem::path& path, const NpyArray& array) {
  const std::string header = checked_header(array);
  AtomicFile file(path);
  file.write(header);
  file.write(array.bytes);
  file.commit();
}

void write_npz(const std::filesystem::path& path, const std::map<std::string, NpyArray>& arrays) {
  AtomicFile file(path);
  StoredZipWriter zip(file);
  for (const auto& [name, array] : arrays) {
    TESSERA_CHECK(ValueError, !name.empty(), path.string(), ": an array without a name");
    const std::string header = checked_header(array);
    zip.add(name + ".npy", {std::as_bytes(std::span(header)), array.bytes});
  }
  zip.finish();
  file.commit();
}

}  // namespace tessera::io

#include "io/zip_writer.h"

#include <zlib.h>

#include <algorithm>

#include "tensor/error.h"

namespace tessera::io {
namespace {

constexpr uint16_t kUtf8Names = 1 << 11;
constexpr uint16_t kDosDate = 1 << 5 | 1;  // 1 January 1980, the format's first day

// Little-endian fields of a record.
class Record {
 public:
  Record& u16(uint64_t v) { return put(v, 2); }
  Record& u32(uint64_t v) { return put(v, 4); }
  Record& u64(uint64_t v) { return put(v, 8); }
  Record& text(std::string_view v) {
    bytes_ += v;
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  Record& put(uint64_t v, int count) {
    for (int i = 0; i < count; ++i) bytes_ += static_cast<char>(v >> (8 * i) & 0xFF);
    return *this;
  }
  std::string bytes_;
};

uint32_t crc_of(std::initializer_list<std::span<const std::byte>> parts) {
  uLong crc = crc32_z(0, nullptr, 0);
  for (const auto& part : parts)
    crc = crc32_z(crc, reinterpret_cast<const Bytef*>(part.data()), part.size());
  return static_cast<uint32_t>(crc);
}

}  // namespace

void StoredZipWriter::add(std::string_view name,
                          std::initializer_list<std::span<const std::byte>> parts) {
  TESSERA_CHECK(ValueError, !name.empty() && name.size() <= 65000,
                "zip: an entry's name must have 1 to 65000 bytes, got ", name.size());
  Entry entry{std::string(name), 0, file_.size(), crc_of(parts)};
  for (const auto& part : parts) entry.size += part.size();
  const bool wide = entry.size >= zip64_from_;
  Record record;
  record.u32(0x04034b50).u16(wide ? 45 : 20).u16(kUtf8Names).u16(0).u16(0).u16(kDosDate);
  record.u32(entry.crc).u32(wide ? 0xFFFFFFFFu : entry.size).u32(wide ? 0xFFFFFFFFu : entry.size);
  record.u16(name.size()).u16(wide ? 20 : 0).text(name);
  if (wide) record.u16(1).u16(16).u64(entry.size).u64(entry.size);
  file_.write(record.bytes());
  for (const auto& part : parts) file_.write(part);
  entries_.push_back(std::move(entry));
}

void StoredZipWriter::finish() {
  const uint64_t start = file_.size();
  for (const Entry& entry : entries_) {
    const bool wide = entry.size >= zip64_from_, far = entry.offset >= zip64_from_;
    const uint16_t fields = static_cast<uint16_t>((wide ? 16 : 0) + (far ? 8 : 0));
    const uint16_t version = fields ? 45 : 20;
    Record record;
    record.u32(0x02014b50).u16(version).u16(version).u16(kUtf8Names).u16(0).u16(0).u16(kDosDate);
    record.u32(entry.crc);
    record.u32(wide ? 0xFFFFFFFFu : entry.size).u32(wide ? 0xFFFFFFFFu : entry.size);
    record.u16(entry.name.size()).u16(fields ? fields + 4u : 0u).u16(0).u16(0).u16(0).u32(0);
    record.u32(far ? 0xFFFFFFFFu : entry.offset).text(entry.name);
    if (fields) record.u16(1).u16(fields);
    if (wide) record.u64(entry.size).u64(entry.size);
    if (far) record.u64(entry.offset);
    file_.write(record.bytes());
  }
  const uint64_t end = file_.size(), size = end - start, count = entries_.size();
  Record tail;
  if (std::max(start, size) >= zip64_from_ || count >= 0xFFFF) {
    tail.u32(0x06064b50).u64(44).u16(45).u16(45).u32(0).u32(0);
    tail.u64(count).u64(count).u64(size).u64(start);
    tail.u32(0x07064b50).u32(0).u64(end).u32(1);
  }
  const auto narrow = [&](uint64_t v) { return v >= zip64_from_ ? 0xFFFFFFFFu : v; };
  const uint64_t short_count = std::min<uint64_t>(count, 0xFFFF);
  tail.u32(0x06054b50).u16(0).u16(0).u16(short_count).u16(short_count);
  tail.u32(narrow(size)).u32(narrow(start)).u16(0);
  file_.write(tail.bytes());
}

}  // namespace tessera::io

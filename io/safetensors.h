#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "io/read_file.h"
#include "tensor/tensor.h"

namespace tessera::io {

/// The content of a safetensors file: tensors in file order (host memory, the layout they were
/// saved in) and the free-form "__metadata__" strings.
struct Safetensors {
  std::vector<std::pair<std::string, Tensor>> tensors;
  std::map<std::string, std::string> metadata;

  /// The tensor called `name`, or an undefined one.
  Tensor find(const std::string& name) const;
};

/// A safetensors file whose header has been read; the tensors follow one at a time, so that the
/// file need not fit into memory.
class SafetensorsFile {
 public:
  struct Entry {
    std::string name;
    DType dtype;
    Shape shape;
    uint64_t begin, end;  ///< bytes behind the header
  };

  /// Throws as read_safetensors, whose checks are all made here.
  explicit SafetensorsFile(const std::filesystem::path& path);

  /// In the order of the header.
  const std::vector<Entry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// Reads `entry` into a new tensor, or into one of its shape and dtype in contiguous host memory
  /// (ValueError otherwise). IoError when the file has shrunk or cannot be read.
  Tensor read(const Entry& entry) const;
  void read_into(const Entry& entry, Tensor& target) const;

 private:
  InputFile file_;
  uint64_t data_ = 0;  // where it begins
  std::vector<Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

/// Reads a safetensors file (u64 little-endian header length, JSON header, raw little-endian data).
/// dtypes F64 F32 F16 BF16 I64 I32 U8 BOOL (any byte but 0 becomes 1). The header must describe the
/// data exactly: no gaps, no overlaps, nothing outside the file, shapes that fit their byte ranges,
/// no name twice, at most 100 MB of header; all this is checked before memory for data is
/// allocated. Throws IoError naming the file and the entry.
Safetensors read_safetensors(const std::filesystem::path& path);
/// The same for a file in memory; `name` stands for it in messages.
Safetensors parse_safetensors(std::span<const std::byte> content, const std::string& name);

/// Writes a safetensors file atomically: tensors in the given order (any strides and device),
/// header padded to 8 bytes. Throws ValueError for a name that is given twice, is "__metadata__"
/// or not UTF-8, and for an undefined tensor, IoError naming the file.
void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace tessera::io

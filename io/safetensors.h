#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

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

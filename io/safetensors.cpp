#include "io/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "io/atomic_file.h"
#include "io/read_file.h"
#include "tensor/view.h"

namespace tessera::io {
namespace {

using nlohmann::ordered_json;

constexpr uint64_t kMaxHeader = 100'000'000;

struct NamedDType {
  const char* name;
  DType dtype;
};
constexpr NamedDType kDTypes[] = {
    {"F32", DType::f32}, {"F64", DType::f64}, {"F16", DType::f16}, {"BF16", DType::bf16},
    {"I64", DType::i64}, {"I32", DType::i32}, {"U8", DType::u8},   {"BOOL", DType::boolean}};

const char* name_of(DType dtype) {
  for (const NamedDType& d : kDTypes)
    if (d.dtype == dtype) return d.name;
  return "?";
}

struct Entry {
  std::string name;
  DType dtype;
  Shape shape;
  uint64_t begin, end;
};

// A non-negative whole number below 2^62, or an error naming the place.
uint64_t whole_number(const ordered_json& value, const std::string& where) {
  TESSERA_CHECK(IoError, value.is_number_unsigned() && value.get<uint64_t>() < uint64_t{1} << 62,
                where, ": expected a non-negative integer");
  return value.get<uint64_t>();
}

Entry parse_entry(const std::string& name, const ordered_json& value, const std::string& file) {
  const std::string where = cat(file, ": entry '", name, "'");
  TESSERA_CHECK(IoError,
                value.is_object() && value.contains("dtype") && value.contains("shape") &&
                    value.contains("data_offsets"),
                where, ": needs dtype, shape and data_offsets");
  Entry entry{.name = name, .dtype = DType::f32, .shape = {}, .begin = 0, .end = 0};
  const ordered_json& dtype = value["dtype"];
  const auto* found =
      std::find_if(std::begin(kDTypes), std::end(kDTypes), [&](const NamedDType& d) {
        return dtype.is_string() && dtype.get_ref<const std::string&>() == d.name;
      });
  TESSERA_CHECK(IoError, found != std::end(kDTypes), where, ": unsupported dtype ", dtype.dump());
  entry.dtype = found->dtype;
  const ordered_json& shape = value["shape"];
  TESSERA_CHECK(IoError, shape.is_array() && shape.size() <= kMaxRank, where,
                ": shape must be a list of at most ", kMaxRank, " sizes");
  uint64_t bytes = static_cast<uint64_t>(size_of(entry.dtype));
  bool overflow = false, zero = false;
  for (const ordered_json& size : shape) {
    const uint64_t n = whole_number(size, where);
    entry.shape.push_back(static_cast<int64_t>(n));
    zero |= n == 0;
    // The strides of an empty tensor are products of its other sizes, so those must fit as well.
    overflow |= __builtin_mul_overflow(bytes, std::max<uint64_t>(n, 1), &bytes);
  }
  overflow |= bytes >= uint64_t{1} << 62;
  if (zero) bytes = 0;
  const ordered_json& offsets = value["data_offsets"];
  TESSERA_CHECK(IoError, offsets.is_array() && offsets.size() == 2, where,
                ": data_offsets must be two numbers");
  entry.begin = whole_number(offsets[0], where);
  entry.end = whole_number(offsets[1], where);
  TESSERA_CHECK(IoError, !overflow && entry.begin <= entry.end && entry.end - entry.begin == bytes,
                where, ": shape ", shape.dump(), " of ", found->name, " does not fill bytes ",
                entry.begin, " to ", entry.end);
  return entry;
}

// The entries must cover [0, size) without gap or overlap.
void check_cover(std::vector<Entry> entries, uint64_t size, const std::string& file) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t position = 0;
  for (const Entry& e : entries) {
    TESSERA_CHECK(IoError, e.begin == position, file, ": entry '", e.name, "' starts at byte ",
                  e.begin, ", expected ", position);
    position = e.end;
  }
  TESSERA_CHECK(IoError, position == size, file, ": the entries describe ", position,
                " bytes of data, the file holds ", size);
}

}  // namespace

Tensor Safetensors::find(const std::string& name) const {
  for (const auto& [key, tensor] : tensors)
    if (key == name) return tensor;
  return {};
}

Safetensors parse_safetensors(std::span<const std::byte> content, const std::string& file) {
  TESSERA_CHECK(IoError, content.size() >= 8, file, ": too short for a safetensors file (",
                content.size(), " bytes)");
  uint64_t length = 0;
  std::memcpy(&length, content.data(), 8);
  TESSERA_CHECK(IoError, length <= kMaxHeader && length <= content.size() - 8, file, ": header of ",
                length, " bytes does not fit a file of ", content.size());
  const auto* text = reinterpret_cast<const char*>(content.data()) + 8;
  // Deep nesting would exhaust the parser's stack; a header has three levels.
  std::set<std::string> names;
  bool duplicate = false;
  int depth = 0, deepest = 0;
  const auto watch = [&](int d, ordered_json::parse_event_t event, ordered_json& parsed) {
    depth = d;
    deepest = std::max(deepest, depth);
    if (event == ordered_json::parse_event_t::key && d == 1)
      duplicate |= !names.insert(parsed.get<std::string>()).second;
    return d <= 4;
  };
  const ordered_json header = ordered_json::parse(text, text + length, watch, false);
  TESSERA_CHECK(IoError, header.is_object() && deepest <= 4 && !duplicate, file,
                ": the header is not a safetensors description",
                duplicate ? " (a name twice)" : "");
  Safetensors out;
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      TESSERA_CHECK(IoError, value.is_object(), file, ": __metadata__ must be an object");
      for (const auto& [key, item] : value.items()) {
        TESSERA_CHECK(IoError, item.is_string(), file, ": __metadata__ '", key,
                      "' is not a string");
        out.metadata[key] = item.get<std::string>();
      }
    } else {
      entries.push_back(parse_entry(name, value, file));
    }
  }
  const uint64_t size = content.size() - 8 - length;
  check_cover(entries, size, file);
  const std::byte* data = content.data() + 8 + length;
  for (const Entry& e : entries) {
    Tensor t = empty(e.shape, e.dtype);
    if (e.end > e.begin) std::memcpy(t.raw_data(), data + e.begin, e.end - e.begin);
    out.tensors.emplace_back(e.name, std::move(t));
  }
  return out;
}

Safetensors read_safetensors(const std::filesystem::path& path) {
  const std::vector<uint8_t> content = read_file(path, uint64_t{1} << 36);
  return parse_safetensors(std::as_bytes(std::span(content)), path.string());
}

void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  ordered_json header = ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t position = 0;
  for (const auto& [name, tensor] : tensors) {
    TESSERA_CHECK(ValueError, name != "__metadata__" && !header.contains(name), path.string(),
                  ": tensor name '", name, "' is reserved or given twice");
    const auto bytes = static_cast<uint64_t>(tensor.nbytes());
    header[name] = {{"dtype", name_of(tensor.dtype())},
                    {"shape", tensor.shape().vector()},
                    {"data_offsets", {position, position + bytes}}};
    position += bytes;
  }
  std::string text = header.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const auto length = static_cast<uint64_t>(text.size());
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(text);
  for (const auto& [name, tensor] : tensors) {
    const Tensor host = view::contiguous(view::to(tensor.detach(), kCpu));
    file.write(
        {static_cast<const std::byte*>(host.raw_data()), static_cast<size_t>(host.nbytes())});
  }
  file.commit();
}

}  // namespace tessera::io

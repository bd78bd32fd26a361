#include "io/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <string_view>

#include "io/atomic_file.h"
#include "tensor/view.h"

namespace tessera::io {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "tensors are copied as they are");

constexpr uint64_t kMaxHeader = 100'000'000;

struct NamedDType {
  const char* name;
  DType dtype;
};
constexpr NamedDType kDTypes[] = {
    {"F32", DType::f32}, {"F64", DType::f64}, {"F16", DType::f16}, {"BF16", DType::bf16},
    {"I64", DType::i64}, {"I32", DType::i32}, {"U8", DType::u8},   {"BOOL", DType::boolean}};

// Text from a file, short enough for a message.
std::string shown(const std::string& text) {
  constexpr size_t kMost = 200;
  return text.size() <= kMost ? text : text.substr(0, kMost) + "...";
}

const char* name_of(DType dtype) {
  for (const NamedDType& d : kDTypes)
    if (d.dtype == dtype) return d.name;
  return "?";
}

using Entry = SafetensorsFile::Entry;

// A non-negative whole number below 2^62, or an error naming the place.
uint64_t whole_number(const json& value, const std::string& where) {
  TESSERA_CHECK(IoError, value.is_number_unsigned() && value.get<uint64_t>() < uint64_t{1} << 62,
                where, ": expected a non-negative integer");
  return value.get<uint64_t>();
}

Entry parse_entry(const std::string& name, const json& value, const std::string& file) {
  const std::string where = cat(file, ": entry '", shown(name), "'");
  TESSERA_CHECK(IoError,
                value.is_object() && value.contains("dtype") && value.contains("shape") &&
                    value.contains("data_offsets"),
                where, ": needs dtype, shape and data_offsets");
  Entry entry{.name = name, .dtype = DType::f32, .shape = {}, .begin = 0, .end = 0};
  const json& dtype = value["dtype"];
  const auto* found =
      std::find_if(std::begin(kDTypes), std::end(kDTypes), [&](const NamedDType& d) {
        return dtype.is_string() && dtype.get_ref<const std::string&>() == d.name;
      });
  TESSERA_CHECK(IoError, found != std::end(kDTypes), where, ": unsupported dtype ",
                shown(dtype.dump()));
  entry.dtype = found->dtype;
  const json& shape = value["shape"];
  TESSERA_CHECK(IoError, shape.is_array() && shape.size() <= kMaxRank, where,
                ": shape must be a list of at most ", kMaxRank, " sizes");
  uint64_t bytes = static_cast<uint64_t>(size_of(entry.dtype));
  bool overflow = false, zero = false;
  for (const json& size : shape) {
    const uint64_t n = whole_number(size, where);
    entry.shape.push_back(static_cast<int64_t>(n));
    zero |= n == 0;
    // The strides of an empty tensor are products of its other sizes, so those must fit as well.
    overflow |= __builtin_mul_overflow(bytes, std::max<uint64_t>(n, 1), &bytes);
  }
  overflow |= bytes >= uint64_t{1} << 62;
  if (zero) bytes = 0;
  const json& offsets = value["data_offsets"];
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
    TESSERA_CHECK(IoError, e.begin == position, file, ": entry '", shown(e.name),
                  "' starts at byte ", e.begin, ", expected ", position);
    position = e.end;
  }
  TESSERA_CHECK(IoError, position == size, file, ": the entries describe ", position,
                " bytes of data, the file holds ", size);
}

// A first pass over a header: its names in their order, repeated ones too, and whether it nests no
// deeper than a description does (four levels). The library's own filter while it builds a tree
// takes quadratic time in the number of names.
class NameReader : public nlohmann::json_sax<json> {
 public:
  std::vector<std::string> names;

  bool key(string_t& name) override {
    if (depth_ == 1) names.push_back(name);
    return true;
  }
  bool start_object(std::size_t) override { return ++depth_ <= 4; }
  bool start_array(std::size_t) override { return ++depth_ <= 4; }
  bool end_object() override { return --depth_ >= 0; }
  bool end_array() override { return --depth_ >= 0; }
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

 private:
  int depth_ = 0;
};

struct Header {
  std::vector<Entry> entries;  // in the order of the header
  std::map<std::string, std::string> metadata;
};

// `size`: bytes of data behind the header.
Header parse_header(std::string_view text, uint64_t size, const std::string& file) {
  NameReader reader;
  const bool good = json::sax_parse(text, &reader);
  const json header = good ? json::parse(text, nullptr, false) : json();
  const bool repeated = header.is_object() && reader.names.size() != header.size();
  TESSERA_CHECK(IoError, header.is_object() && !repeated, file,
                ": the header is not a safetensors description", repeated ? " (a name twice)" : "");
  Header out;
  for (const std::string& name : reader.names) {
    const json& value = *header.find(name);
    if (name != "__metadata__") {
      out.entries.push_back(parse_entry(name, value, file));
      continue;
    }
    TESSERA_CHECK(IoError, value.is_object(), file, ": __metadata__ must be an object");
    for (const auto& [key, item] : value.items()) {
      TESSERA_CHECK(IoError, item.is_string(), file, ": __metadata__ '", shown(key),
                    "' is not a string");
      out.metadata[key] = item.get<std::string>();
    }
  }
  check_cover(out.entries, size, file);
  return out;
}

// The length of the header of a file of `size` bytes, from its first eight.
uint64_t header_length(std::span<const std::byte, 8> prefix, uint64_t size,
                       const std::string& file) {
  uint64_t length = 0;
  std::memcpy(&length, prefix.data(), 8);
  TESSERA_CHECK(IoError, length <= kMaxHeader && length <= size - 8, file, ": header of ", length,
                " bytes does not fit a file of ", size);
  return length;
}

void check_size(uint64_t size, const std::string& file) {
  TESSERA_CHECK(IoError, size >= 8, file, ": too short for a safetensors file (", size, " bytes)");
}

std::span<std::byte> bytes_of(Tensor& t) {
  return {static_cast<std::byte*>(t.raw_data()), static_cast<size_t>(t.nbytes())};
}

// Any byte may be in a file, but a bool other than 0 and 1 is undefined behaviour.
void clean_booleans(Tensor& t) {
  if (t.dtype() != DType::boolean) return;
  for (std::byte& b : bytes_of(t)) b = std::byte{b != std::byte{0}};
}

}  // namespace

Tensor Safetensors::find(const std::string& name) const {
  for (const auto& [key, tensor] : tensors)
    if (key == name) return tensor;
  return {};
}

Safetensors parse_safetensors(std::span<const std::byte> content, const std::string& file) {
  check_size(content.size(), file);
  const uint64_t length = header_length(content.first<8>(), content.size(), file);
  const std::string_view text(reinterpret_cast<const char*>(content.data()) + 8, length);
  const auto data = content.subspan(8 + length);
  Header header = parse_header(text, data.size(), file);
  Safetensors out{{}, std::move(header.metadata)};
  for (const Entry& e : header.entries) {
    Tensor t = empty(e.shape, e.dtype);
    if (e.end > e.begin) std::memcpy(t.raw_data(), data.data() + e.begin, e.end - e.begin);
    clean_booleans(t);
    out.tensors.emplace_back(e.name, std::move(t));
  }
  return out;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  const std::string name = path.string();
  check_size(file_.size(), name);
  std::array<std::byte, 8> prefix;
  file_.read(prefix);
  std::string text(header_length(prefix, file_.size(), name), '\0');
  file_.read(std::as_writable_bytes(std::span(text)));
  data_ = 8 + text.size();
  Header header = parse_header(text, file_.size() - data_, name);
  entries_ = std::move(header.entries);
  metadata_ = std::move(header.metadata);
}

void SafetensorsFile::read_into(const Entry& entry, Tensor& target) const {
  TESSERA_CHECK(ValueError,
                target.shape() == entry.shape && target.dtype() == entry.dtype &&
                    target.is_contiguous() && target.device().is_cpu(),
                "safetensors: '", entry.name, "' ", entry.dtype, entry.shape,
                " cannot be read into ", target.dtype(), target.shape());
  file_.read_at(data_ + entry.begin, bytes_of(target));
  clean_booleans(target);
  target.bump_version();
}

Tensor SafetensorsFile::read(const Entry& entry) const {
  Tensor t = empty(entry.shape, entry.dtype);
  read_into(entry, t);
  return t;
}

Safetensors read_safetensors(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  Safetensors out{{}, file.metadata()};
  for (const Entry& e : file.entries()) out.tensors.emplace_back(e.name, empty(e.shape, e.dtype));
  // In the order of the data, which disks like best.
  std::vector<size_t> order(out.tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return file.entries()[a].end < file.entries()[b].end; });
  for (const size_t i : order) file.read_into(file.entries()[i], out.tensors[i].second);
  return out;
}

void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::set<std::string_view> names{"__metadata__"};
  uint64_t position = 0;
  for (const auto& [name, tensor] : tensors) {
    TESSERA_CHECK(ValueError, names.insert(name).second, path.string(), ": tensor name '", name,
                  "' is reserved or given twice");
    TESSERA_CHECK(ValueError, tensor.defined(), path.string(), ": tensor '", name,
                  "' is undefined");
    const auto bytes = static_cast<uint64_t>(tensor.nbytes());
    header[name] = {{"dtype", name_of(tensor.dtype())},
                    {"shape", tensor.shape().vector()},
                    {"data_offsets", {position, position + bytes}}};
    position += bytes;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const json::type_error&) {  // replaced bytes could make two names one
    throw ValueError(cat(path.string(), ": a tensor's name or the metadata is not UTF-8"));
  }
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

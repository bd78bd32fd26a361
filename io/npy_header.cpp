#include "io/npy_header.h"

#include <array>
#include <limits>
#include <utility>

#include "tensor/error.h"

namespace tessera::io::detail {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kMaxHeader = size_t{1} << 16;
constexpr size_t kMaxAxes = 64;

constexpr std::array<std::pair<std::string_view, int64_t>, 14> kTypes{{{"f2", 2},
                                                                       {"f4", 4},
                                                                       {"f8", 8},
                                                                       {"i1", 1},
                                                                       {"i2", 2},
                                                                       {"i4", 4},
                                                                       {"i8", 8},
                                                                       {"u1", 1},
                                                                       {"u2", 2},
                                                                       {"u4", 4},
                                                                       {"u8", 8},
                                                                       {"b1", 1},
                                                                       {"c8", 8},
                                                                       {"c16", 16}}};

// The subset of Python literals that the header uses.
class Literal {
 public:
  Literal(std::string_view text, std::string_view name) : text_(text), name_(name) {}

  void expect(char c) {
    TESSERA_CHECK(IoError, take(c), name_, ": .npy header: expected '", c, "' at character ", at_);
  }
  bool take(char c) {
    skip_spaces();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  std::string_view quoted() {
    skip_spaces();
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    TESSERA_CHECK(IoError, quote == '\'' || quote == '"', name_,
                  ": .npy header: expected a quoted string at character ", at_);
    const size_t end = text_.find(quote, at_ + 1);
    TESSERA_CHECK(IoError, end != std::string_view::npos, name_,
                  ": .npy header: string without end at character ", at_);
    const std::string_view value = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return value;
  }
  bool boolean() {
    skip_spaces();
    if (take_word("True")) return true;
    TESSERA_CHECK(IoError, take_word("False"), name_,
                  ": .npy header: fortran_order must be True or False");
    return false;
  }
  std::vector<int64_t> tuple() {
    std::vector<int64_t> values;
    bool comma = true;
    expect('(');
    while (!take(')')) {
      TESSERA_CHECK(IoError, comma, name_, ": .npy header: expected ',' at character ", at_);
      TESSERA_CHECK(IoError, values.size() < kMaxAxes, name_, ": .npy header: more than ", kMaxAxes,
                    " axes");
      values.push_back(integer());
      comma = take(',');
    }
    // "(3)" is a parenthesised integer, not a tuple.
    TESSERA_CHECK(IoError, values.size() != 1 || comma, name_,
                  ": .npy header: shape must be a tuple");
    return values;
  }
  void end() {
    skip_spaces();
    TESSERA_CHECK(IoError, at_ == text_.size(), name_,
                  ": .npy header: unexpected text at character ", at_);
  }

 private:
  void skip_spaces() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool take_word(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }
  int64_t integer() {
    skip_spaces();
    int64_t value = 0;
    const size_t first = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
      TESSERA_CHECK(IoError, at_ - first < 18, name_, ": .npy header: an extent of over 18 digits");
      value = value * 10 + (text_[at_++] - '0');
    }
    TESSERA_CHECK(IoError, at_ > first, name_,
                  ": .npy header: expected a non-negative integer at character ", at_);
    if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // written by Python 2
    return value;
  }

  std::string_view text_;
  std::string_view name_;
  size_t at_ = 0;
};

void parse_descr(std::string_view descr, std::string_view name, NpyHeader& header) {
  const char order = descr.empty() ? '\0' : descr.front();
  const std::string_view type = descr.substr(descr.empty() ? 0 : 1);
  const int64_t size = npy_item_size(type);
  const bool order_known =
      order == '<' || order == '>' || order == '=' || (order == '|' && size == 1);
  TESSERA_CHECK(IoError, size > 0 && order_known, name, ": .npy type '", descr,
                "' is not supported; expected a byte order and f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 b1 "
                "c8 or c16");
  header.dtype = type;
  header.big_endian = order == '>';
}

void parse_dict(std::string_view text, std::string_view name, NpyHeader& header) {
  Literal in(text, name);
  bool descr = false, fortran = false, shape = false, comma = true;
  const auto once = [&](bool& seen, std::string_view key) {
    TESSERA_CHECK(IoError, !seen, name, ": .npy header: '", key, "' twice");
    seen = true;
  };
  in.expect('{');
  while (!in.take('}')) {
    TESSERA_CHECK(IoError, comma, name, ": .npy header: expected ',' between fields");
    const std::string_view key = in.quoted();
    in.expect(':');
    if (key == "descr") {
      once(descr, key);
      parse_descr(in.quoted(), name, header);
    } else if (key == "fortran_order") {
      once(fortran, key);
      header.fortran_order = in.boolean();
    } else {
      TESSERA_CHECK(IoError, key == "shape", name, ": .npy header: unknown field '", key, "'");
      once(shape, key);
      header.shape = in.tuple();
    }
    comma = in.take(',');
  }
  in.end();
  TESSERA_CHECK(IoError, descr && fortran && shape, name,
                ": .npy header: expected the fields descr, fortran_order and shape");
}

}  // namespace

int64_t npy_item_size(std::string_view dtype) {
  for (const auto& [type, size] : kTypes)
    if (type == dtype) return size;
  return 0;
}

bool npy_byte_count(std::span<const int64_t> shape, int64_t item, uint64_t& bytes) {
  bool empty = false;
  for (const int64_t extent : shape) {
    if (extent < 0) return false;
    empty = empty || extent == 0;
  }
  bytes = empty ? 0 : static_cast<uint64_t>(item);
  if (empty) return true;
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
  for (const int64_t extent : shape) {
    if (bytes > kMax / static_cast<uint64_t>(extent)) return false;
    bytes *= static_cast<uint64_t>(extent);
  }
  return true;
}

NpyHeader parse_npy_header(std::span<const std::byte> content, std::string_view name) {
  const std::string_view text(reinterpret_cast<const char*>(content.data()), content.size());
  TESSERA_CHECK(IoError, text.substr(0, kMagic.size()) == kMagic, name, ": not a .npy array");
  const auto byte = [&](size_t i) { return static_cast<size_t>(content[i]); };
  TESSERA_CHECK(IoError, text.size() >= 10, name, ": .npy header is truncated");
  const size_t major = byte(6), minor = byte(7);
  TESSERA_CHECK(IoError, major >= 1 && major <= 3 && minor == 0, name, ": .npy version ", major,
                ".", minor, " is not supported; expected 1.0, 2.0 or 3.0");
  const size_t prefix = major == 1 ? 10 : 12;
  TESSERA_CHECK(IoError, text.size() >= prefix, name, ": .npy header is truncated");
  size_t length = byte(8) | byte(9) << 8;
  if (major > 1) length |= byte(10) << 16 | byte(11) << 24;
  TESSERA_CHECK(IoError, length <= kMaxHeader, name, ": .npy header of ", length,
                " bytes, more than the limit of ", kMaxHeader);
  TESSERA_CHECK(IoError, length <= text.size() - prefix, name, ": .npy header is truncated");
  NpyHeader header;
  header.data_offset = prefix + length;
  parse_dict(text.substr(prefix, length), name, header);
  TESSERA_CHECK(IoError,
                npy_byte_count(header.shape, npy_item_size(header.dtype), header.data_bytes), name,
                ": .npy shape is too large to address");
  return header;
}

std::string make_npy_header(std::string_view dtype, std::span<const int64_t> shape) {
  std::string dict = cat("{'descr': '", npy_item_size(dtype) == 1 ? '|' : '<', dtype,
                         "', 'fortran_order': False, 'shape': (");
  for (const int64_t extent : shape) dict += cat(extent, shape.size() == 1 ? "," : ", ");
  if (shape.size() > 1) dict.resize(dict.size() - 2);
  dict += "), }";
  constexpr size_t kPrefix = 10, kAlign = 64;
  const size_t total = (kPrefix + dict.size() + 1 + kAlign - 1) / kAlign * kAlign;
  dict.resize(total - kPrefix - 1, ' ');
  dict += '\n';
  std::string header(kMagic);
  header +=
      {'\x01', '\0', static_cast<char>(dict.size() & 0xFF), static_cast<char>(dict.size() >> 8)};
  return header + dict;
}

}  // namespace tessera::io::detail

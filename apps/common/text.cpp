#include "apps/common/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "tensor/error.h"

namespace tessera::apps {
namespace {

std::string padded(int64_t value) { return cat(value < 10 ? "0" : "", value); }

}  // namespace

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default: {
        const auto byte = static_cast<unsigned char>(c);
        const bool control = (byte < 32 && c != '\n' && c != '\t') || byte == 127;
        out += control ? ' ' : c;
      }
    }
  }
  return out;
}

std::string format_fixed(double value, int decimals) {
  if (std::isnan(value)) return "-";
  std::array<char, 400> buffer;
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                    std::chars_format::fixed, decimals);
  TESSERA_CHECK(ValueError, result.ec == std::errc(), "format_fixed: ", decimals,
                " decimals are too many");
  return {buffer.data(), result.ptr};
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e15) return "-";
  if (seconds < 9.95) return format_fixed(seconds, 1) + " s";
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 60) return cat(whole, " s");
  if (whole < 3600) return cat(whole / 60, " min ", padded(whole % 60), " s");
  const int64_t minutes = (whole + 30) / 60;
  if (minutes < 24 * 60) return cat(minutes / 60, " h ", padded(minutes % 60), " min");
  const int64_t hours = (minutes + 30) / 60;
  return cat(hours / 24, " d ", hours % 24, " h");
}

std::string format_bytes(double bytes) {
  constexpr std::array<const char*, 6> kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  size_t unit = 0;
  while (bytes >= 1023.95 && unit + 1 < kUnits.size()) bytes /= 1024, ++unit;
  return cat(format_fixed(bytes, unit == 0 ? 0 : 1), " ", kUnits[unit]);
}

std::string base64(std::span<const uint8_t> bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    for (size_t k = 0; k < 3; ++k) {
      group = group << 8 | (k < count ? uint32_t{bytes[i + k]} : 0u);
    }
    for (size_t k = 0; k < 4; ++k) {
      out += k <= count ? kDigits[group >> (18 - 6 * k) & 63] : '=';
    }
  }
  return out;
}

}  // namespace tessera::apps

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

/// Small text helpers shared by plots, reports and progress lines.
namespace tessera::apps {

/// Replaces & < > " ' so that the text can stand in HTML or XML content and attribute values;
/// control characters other than tab and newline become blanks.
std::string escape_html(std::string_view text);

/// `value` with `decimals` digits after the point, independent of the locale; "-" for NaN.
std::string format_fixed(double value, int decimals);

/// "0.4 s", "12 s", "3 min 05 s", "2 h 07 min", "3 d 4 h"; "-" when not finite or negative.
std::string format_duration(double seconds);

/// "512 B", "3.4 KiB", "1.2 GiB".
std::string format_bytes(double bytes);

/// Base64 with padding (RFC 4648).
std::string base64(std::span<const uint8_t> bytes);

}  // namespace tessera::apps

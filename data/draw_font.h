#pragma once

#include <string_view>

namespace tessera::data::font {

/// The stroke font of Canvas::text, drawn for this library on a grid of 14 units per capital
/// height: y = 0 top of capitals, 4 top of small letters, 14 baseline, 18 bottom of descenders.
///
/// A glyph's text is one digit for its ink width, then strokes separated by blanks. A stroke is a
/// sequence of points, each two base-36 digits x y; a point after '~' is the control point of a
/// quadratic curve, and between two control points in a row lies an implied point half-way (as in
/// TrueType outlines). Neighbouring glyphs are kGap units apart.
inline constexpr int kFirst = 32, kLast = 126;
inline constexpr double kCapHeight = 14, kXHeightTop = 4, kDescender = 18, kGap = 4;
inline constexpr double kUnitsPerSize = 20;  // nominal text size in units

/// Text of the glyph of `character`, or of a hollow box for one outside 32 .. 126.
std::string_view glyph(char character);

/// Value of a base-36 digit.
constexpr int digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

}  // namespace tessera::data::font

#include <algorithm>
#include <array>
#include <cmath>

#include "data/draw.h"
#include "data/draw_font.h"

namespace tessera::data {
namespace {

/// Glyph units to pixels, with the heights that carry horizontal strokes moved to whole pixels so
/// that small text stays crisp.
class GlyphScale {
 public:
  explicit GlyphScale(double size) : unit_(size / font::kUnitsPerSize) {
    for (size_t i = 0; i < kKnots.size(); ++i) {
      snapped_[i] = std::round((kKnots[i] - font::kCapHeight) * unit_);
    }
  }

  double unit() const { return unit_; }
  /// Width of `units` across, a whole number of pixels.
  double across(double units) const { return std::round(units * unit_); }
  /// Pixels below the baseline (negative: above) of glyph height y.
  double down(double y) const {
    size_t i = 1;
    while (i + 1 < kKnots.size() && y > kKnots[i]) ++i;
    const double t = (y - kKnots[i - 1]) / (kKnots[i] - kKnots[i - 1]);
    return snapped_[i - 1] + (snapped_[i] - snapped_[i - 1]) * t;
  }

 private:
  static constexpr std::array<double, 6> kKnots{0, 4, 7, 9, 14, 18};
  double unit_;
  std::array<double, 6> snapped_{};
};

double gap(const GlyphScale& scale) { return std::max(2.0, scale.across(font::kGap)); }

double ink_width(std::string_view glyph) { return font::digit(glyph[0]); }

struct GlyphPoint {
  Point position;
  bool control = false;
};

/// Flattens one stroke's points, inserting the implied ones between neighbouring controls.
std::vector<Point> flatten(const std::vector<GlyphPoint>& points) {
  Path path;
  path.move_to(points[0].position);
  for (size_t i = 1; i < points.size(); ++i) {
    if (!points[i].control) {
      path.line_to(points[i].position);
      continue;
    }
    const Point control = points[i].position;
    Point end = points[i + 1].position;
    if (points[i + 1].control) {
      end = {(control.x + end.x) / 2, (control.y + end.y) / 2};
    } else {
      ++i;
    }
    path.quad_to(control, end);
  }
  return path.contours()[0];
}

Path glyph_path(std::string_view glyph, Point origin, const GlyphScale& scale, double thickness) {
  const double ink = ink_width(glyph);
  const double stretch = ink > 0 ? scale.across(ink) / ink : scale.unit();
  Path path;
  std::vector<GlyphPoint> points;
  const auto finish = [&] {
    if (!points.empty()) path.add(Path::stroke(flatten(points), thickness));
    points.clear();
  };
  for (size_t i = 2; i < glyph.size();) {
    if (glyph[i] == ' ') {
      finish();
      ++i;
      continue;
    }
    const bool control = glyph[i] == '~';
    if (control) ++i;
    const double x = font::digit(glyph[i]), y = font::digit(glyph[i + 1]);
    points.push_back({{origin.x + x * stretch, origin.y + scale.down(y)}, control});
    i += 2;
  }
  finish();
  return path;
}

/// Bytes of the UTF-8 sequence that starts with `lead`: one box is drawn for each.
size_t sequence_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
}

}  // namespace

double text_width(std::string_view text, double size) {
  const GlyphScale scale(size);
  double width = 0;
  for (size_t i = 0; i < text.size(); i += sequence_length(text[i])) {
    width += scale.across(ink_width(font::glyph(text[i]))) + gap(scale);
  }
  return std::max(0.0, width - gap(scale)) + scale.unit();
}

void Canvas::text(Point position, std::string_view text, const Color& color,
                  const TextStyle& style) {
  TESSERA_CHECK(ValueError, style.size > 0 && style.weight > 0,
                "text: size and weight must be positive, got ", style.size, " and ", style.weight);
  const GlyphScale scale(style.size);
  const double thickness = std::max(1.0, style.size * 0.085) * style.weight;
  const double width = text_width(text, style.size);
  double x = position.x;
  if (style.anchor == TextAnchor::kCenter) x -= width / 2;
  if (style.anchor == TextAnchor::kRight) x -= width;
  // Strokes run through pixel centres: a stem one pixel wide then fills one column.
  Point pen{std::round(x) + 0.5, std::round(position.y) - 0.5};
  for (size_t i = 0; i < text.size(); i += sequence_length(text[i])) {
    const std::string_view glyph = font::glyph(text[i]);
    fill(glyph_path(glyph, pen, scale, thickness), color);
    pen.x += scale.across(ink_width(glyph)) + gap(scale);
  }
}

}  // namespace tessera::data

#pragma once

#include <array>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "data/image.h"

/// A small anti-aliased raster canvas on RGB images: what pictures in reports, ranking sheets and
/// the synthetic pedestrians are drawn with. Coordinates are pixels, x to the right and y down;
/// pixel (y, x) covers the square [x, x + 1) x [y, y + 1). Whatever lies outside the image is
/// clipped. Colours are blended in sRGB bytes without gamma correction.
namespace tessera::data {

/// An sRGB colour and its opacity (0 transparent, 1 solid).
struct Color {
  uint8_t r = 0, g = 0, b = 0;
  double a = 1.0;

  constexpr Color with_alpha(double alpha) const { return {r, g, b, alpha}; }
  bool operator==(const Color&) const = default;
};

/// The colour between `from` (t = 0) and `to` (t = 1), opacity included; t is clamped.
Color mix(const Color& from, const Color& to, double t);
/// Multiplies the three channels by `factor` and saturates; opacity is kept.
Color scaled(const Color& color, double factor);

namespace colors {
inline constexpr Color kBlack{0, 0, 0}, kWhite{255, 255, 255}, kGrey{128, 128, 128};
inline constexpr Color kInk{31, 41, 55}, kMuted{107, 114, 128}, kGrid{226, 229, 234};
inline constexpr Color kRed{214, 45, 45}, kGreen{34, 154, 78}, kBlue{42, 109, 213};
inline constexpr Color kOrange{230, 126, 34}, kPurple{134, 84, 196}, kTeal{20, 148, 150};
/// Well separated colours for the series of one plot.
inline constexpr std::array<Color, 6> kSeries{kBlue, kOrange, kGreen, kPurple, kRed, kTeal};
}  // namespace colors

struct Point {
  double x = 0, y = 0;
  bool operator==(const Point&) const = default;
};

/// Top left corner and size.
struct Rect {
  double x = 0, y = 0, width = 0, height = 0;
};

/// Gives the colour at a pixel centre: patterns and gradients.
using Paint = std::function<Color(double x, double y)>;

/// One or more contours of straight pieces; curves are flattened as they are added. When filled,
/// every contour is closed, contours of the same orientation unite and those of opposite
/// orientation cut holes into each other.
class Path {
 public:
  Path& move_to(Point p);
  /// line_to, quad_to and cubic_to continue the current contour (or start one at the origin).
  Path& line_to(Point p);
  /// Quadratic curve with one control point.
  Path& quad_to(Point control, Point end);
  /// Cubic curve with two control points.
  Path& cubic_to(Point control1, Point control2, Point end);
  /// Appends the contours of another path.
  Path& add(const Path& other);

  static Path polygon(std::span<const Point> points);
  static Path rectangle(const Rect& rect);
  /// Corner radius is cut to half the shorter side.
  static Path rounded_rectangle(const Rect& rect, double radius);
  static Path ellipse(Point center, double radius_x, double radius_y);
  /// The convex hull of two discs: a limb, a stroke with round ends.
  static Path capsule(Point a, double radius_a, Point b, double radius_b);
  /// The outline of a polyline of the given thickness with round corners and ends. Small turns, as
  /// in a flattened curve, are followed without a corner.
  static Path stroke(std::span<const Point> points, double thickness, bool closed = false);

  const std::vector<std::vector<Point>>& contours() const { return contours_; }

 private:
  std::vector<std::vector<Point>> contours_;
};

/// Where the given position lies relative to the text.
enum class TextAnchor { kLeft, kCenter, kRight };

struct TextStyle {
  double size = 12;   // nominal height in pixels; capitals are 0.7 of it high
  double weight = 1;  // stroke thickness relative to the regular face
  TextAnchor anchor = TextAnchor::kLeft;
};

/// Width in pixels of one line of text, as Canvas::text draws it.
double text_width(std::string_view text, double size);

/// Draws on an image it does not own; the image must outlive it.
class Canvas {
 public:
  /// Throws ValueError unless the image has three channels and matching storage.
  explicit Canvas(Image& image);

  int64_t width() const { return image_->width; }
  int64_t height() const { return image_->height; }

  /// Sets every pixel, ignoring opacity.
  void clear(const Color& color);
  /// Blends one pixel with coverage 0 .. 1; outside the image nothing happens.
  void blend(int64_t y, int64_t x, const Color& color, double coverage = 1);

  void fill(const Path& path, const Color& color);
  void fill(const Path& path, const Paint& paint);

  void line(Point a, Point b, const Color& color, double thickness = 1);
  /// Points that are not finite break the line.
  void polyline(std::span<const Point> points, const Color& color, double thickness = 1,
                bool closed = false);
  /// Outline that stays inside `rect`.
  void rectangle(const Rect& rect, const Color& color, double thickness = 1);
  void fill_rectangle(const Rect& rect, const Color& color);
  void circle(Point center, double radius, const Color& color, double thickness = 1);
  void fill_circle(Point center, double radius, const Color& color);
  void ellipse(Point center, double radius_x, double radius_y, const Color& color,
               double thickness = 1);
  void fill_ellipse(Point center, double radius_x, double radius_y, const Color& color);
  void fill_polygon(std::span<const Point> points, const Color& color);

  /// One line of text, ASCII 32 .. 126; any other character is drawn as a hollow box.
  /// `position` is on the baseline, at the end or middle that `style.anchor` names.
  void text(Point position, std::string_view text, const Color& color, const TextStyle& style = {});

  /// Copies `source` (1, 3 or 4 channels; the fourth is opacity) scaled into `target`, whose edges
  /// are rounded to whole pixels. Shrinking averages, enlarging interpolates.
  void paste(const Image& source, const Rect& target, double opacity = 1);

 private:
  void fill_with(const Path& path, const Color* color, const Paint* paint);

  Image* image_;
};

/// `image` scaled to height x width: area average when shrinking, bilinear when enlarging. For
/// pictures that people look at; network input goes through the resize of the transforms.
/// Throws ValueError for an empty image or size.
Image rescale(const Image& image, int64_t height, int64_t width);

}  // namespace tessera::data

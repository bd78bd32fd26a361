#include "data/draw.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tessera::data {
namespace {

uint8_t to_byte(double v) { return static_cast<uint8_t>(std::clamp(v + 0.5, 0.0, 255.0)); }

Point lerp(Point a, Point b, double t) { return {a.x + (b.x - a.x) * t, a.y + (b.y - a.y) * t}; }

bool finite(Point p) { return std::isfinite(p.x) && std::isfinite(p.y); }

/// Flattening steps for a curve whose control polygon has this length: pieces of about 3 pixels.
int curve_steps(double length) { return std::clamp(static_cast<int>(length / 3) + 2, 3, 64); }

double distance(Point a, Point b) { return std::hypot(a.x - b.x, a.y - b.y); }

/// Signed area coverage of a set of edges over a window of pixels. Every edge adds, to each pixel
/// row it crosses, the area to its right; a running sum along the row then gives the coverage.
class CoverageBuffer {
 public:
  CoverageBuffer(int64_t x0, int64_t y0, int64_t width, int64_t height)
      : x0_(x0),
        y0_(y0),
        width_(width),
        height_(height),
        cells_(static_cast<size_t>((width + 2) * height), 0.0f) {}

  void add_edge(Point a, Point b) {
    a = {a.x - static_cast<double>(x0_), a.y - static_cast<double>(y0_)};
    b = {b.x - static_cast<double>(x0_), b.y - static_cast<double>(y0_)};
    if (a.y == b.y) return;
    const double sign = a.y < b.y ? 1 : -1;
    if (a.y > b.y) std::swap(a, b);
    const double slope = (b.x - a.x) / (b.y - a.y);
    const double top = std::max(a.y, 0.0), bottom = std::min(b.y, static_cast<double>(height_));
    for (auto row = static_cast<int64_t>(top); static_cast<double>(row) < bottom; ++row) {
      const double y_begin = std::max(top, static_cast<double>(row));
      const double y_end = std::min(bottom, static_cast<double>(row + 1));
      add_span(row, a.x + (y_begin - a.y) * slope, a.x + (y_end - a.y) * slope,
               sign * (y_end - y_begin));
    }
  }

  /// Calls visit(y, x, coverage) for every pixel that is at least slightly covered.
  template <class Visit>
  void for_each(Visit visit) const {
    for (int64_t row = 0; row < height_; ++row) {
      const float* cells = cells_.data() + row * (width_ + 2);
      double sum = 0;
      for (int64_t x = 0; x < width_; ++x) {
        sum += cells[x];
        const double coverage = std::min(std::abs(sum), 1.0);
        if (coverage > 1.0 / 512) visit(row + y0_, x + x0_, coverage);
      }
    }
  }

 private:
  void add_span(int64_t row, double xa, double xb, double area) {
    const double right = static_cast<double>(width_);
    xa = std::clamp(xa, 0.0, right);
    xb = std::clamp(xb, 0.0, right);
    if (xa > xb) std::swap(xa, xb);
    float* cells = cells_.data() + row * (width_ + 2);
    auto column = static_cast<int64_t>(xa);
    if (xb <= static_cast<double>(column + 1)) {
      add_cell(cells, column, (xa + xb) / 2, area);
      return;
    }
    for (double begin = xa; begin < xb; ++column) {
      const double end = std::min(xb, static_cast<double>(column + 1));
      add_cell(cells, column, (begin + end) / 2, area * (end - begin) / (xb - xa));
      begin = end;
    }
  }

  static void add_cell(float* cells, int64_t column, double middle, double area) {
    const double left = middle - static_cast<double>(column);
    cells[column] += static_cast<float>(area * (1 - left));
    cells[column + 1] += static_cast<float>(area * left);
  }

  int64_t x0_, y0_, width_, height_;
  std::vector<float> cells_;
};

}  // namespace

Color mix(const Color& from, const Color& to, double t) {
  t = std::clamp(t, 0.0, 1.0);
  const auto channel = [t](uint8_t a, uint8_t b) { return to_byte(a + (b - a) * t); };
  return {channel(from.r, to.r), channel(from.g, to.g), channel(from.b, to.b),
          from.a + (to.a - from.a) * t};
}

Color scaled(const Color& color, double factor) {
  return {to_byte(color.r * factor), to_byte(color.g * factor), to_byte(color.b * factor), color.a};
}

Path& Path::move_to(Point p) {
  contours_.push_back({p});
  return *this;
}

Path& Path::line_to(Point p) {
  if (contours_.empty()) move_to({});
  contours_.back().push_back(p);
  return *this;
}

Path& Path::quad_to(Point control, Point end) {
  if (contours_.empty()) move_to({});
  const Point start = contours_.back().back();
  const int steps = curve_steps(distance(start, control) + distance(control, end));
  for (int i = 1; i <= steps; ++i) {
    const double t = static_cast<double>(i) / steps;
    line_to(lerp(lerp(start, control, t), lerp(control, end, t), t));
  }
  return *this;
}

Path& Path::cubic_to(Point control1, Point control2, Point end) {
  if (contours_.empty()) move_to({});
  const Point start = contours_.back().back();
  const int steps = curve_steps(distance(start, control1) + distance(control1, control2) +
                                distance(control2, end));
  for (int i = 1; i <= steps; ++i) {
    const double t = static_cast<double>(i) / steps;
    const Point middle = lerp(control1, control2, t);
    line_to(lerp(lerp(lerp(start, control1, t), middle, t), lerp(middle, lerp(control2, end, t), t),
                 t));
  }
  return *this;
}

Path& Path::add(const Path& other) {
  contours_.insert(contours_.end(), other.contours_.begin(), other.contours_.end());
  return *this;
}

Path Path::polygon(std::span<const Point> points) {
  Path path;
  path.contours_.emplace_back(points.begin(), points.end());
  return path;
}

Path Path::rectangle(const Rect& r) {
  const Point corners[] = {
      {r.x, r.y}, {r.x + r.width, r.y}, {r.x + r.width, r.y + r.height}, {r.x, r.y + r.height}};
  return polygon(corners);
}

Path Path::rounded_rectangle(const Rect& r, double radius) {
  radius = std::clamp(radius, 0.0, std::min(r.width, r.height) / 2);
  if (radius <= 0) return rectangle(r);
  // One straight side at a time, each ending in the corner's quarter ellipse.
  const double k = radius * 0.4477;  // 1 - 4/3 (sqrt 2 - 1): control points of a quarter circle
  const double x0 = r.x, y0 = r.y, x1 = r.x + r.width, y1 = r.y + r.height;
  Path path;
  path.move_to({x0 + radius, y0}).line_to({x1 - radius, y0});
  path.cubic_to({x1 - k, y0}, {x1, y0 + k}, {x1, y0 + radius}).line_to({x1, y1 - radius});
  path.cubic_to({x1, y1 - k}, {x1 - k, y1}, {x1 - radius, y1}).line_to({x0 + radius, y1});
  path.cubic_to({x0 + k, y1}, {x0, y1 - k}, {x0, y1 - radius}).line_to({x0, y0 + radius});
  path.cubic_to({x0, y0 + k}, {x0 + k, y0}, {x0 + radius, y0});
  return path;
}

Path Path::ellipse(Point center, double radius_x, double radius_y) {
  const double larger = std::max(std::abs(radius_x), std::abs(radius_y));
  const int steps = std::clamp(static_cast<int>(larger * 2) + 12, 12, 160);
  Path path;
  std::vector<Point> points;
  for (int i = 0; i < steps; ++i) {
    const double angle = 2 * std::numbers::pi * i / steps;
    points.push_back(
        {center.x + radius_x * std::cos(angle), center.y + radius_y * std::sin(angle)});
  }
  path.contours_.push_back(std::move(points));
  return path;
}

Path Path::capsule(Point a, double radius_a, Point b, double radius_b) {
  const double length = distance(a, b);
  if (length <= std::abs(radius_a - radius_b)) {
    return radius_a >= radius_b ? ellipse(a, radius_a, radius_a) : ellipse(b, radius_b, radius_b);
  }
  // The outer tangents touch both circles at the angle `half` off the axis.
  const double axis = std::atan2(b.y - a.y, b.x - a.x);
  const double half = std::acos((radius_a - radius_b) / length);
  std::vector<Point> points;
  const auto arc = [&points](Point c, double radius, double from, double to) {
    const int steps = std::clamp(static_cast<int>(radius * 2) + 6, 6, 48);
    for (int i = 0; i <= steps; ++i) {
      const double angle = from + (to - from) * i / steps;
      points.push_back({c.x + radius * std::cos(angle), c.y + radius * std::sin(angle)});
    }
  };
  arc(b, radius_b, axis - half, axis + half);
  arc(a, radius_a, axis + half, axis + 2 * std::numbers::pi - half);
  return polygon(points);
}

Canvas::Canvas(Image& image) : image_(&image) {
  TESSERA_CHECK(ValueError, image.channels == 3, "canvas: the image must have 3 channels, got ",
                image.channels);
  TESSERA_CHECK(ValueError,
                image.pixels.size() == static_cast<size_t>(image.height * image.width * 3),
                "canvas: ", image.height, " x ", image.width, " x 3 image holds ",
                image.pixels.size(), " bytes");
}

void Canvas::clear(const Color& color) {
  for (size_t i = 0; i + 2 < image_->pixels.size(); i += 3) {
    image_->pixels[i] = color.r;
    image_->pixels[i + 1] = color.g;
    image_->pixels[i + 2] = color.b;
  }
}

void Canvas::blend(int64_t y, int64_t x, const Color& color, double coverage) {
  if (y < 0 || x < 0 || y >= image_->height || x >= image_->width) return;
  const double alpha = std::clamp(color.a * coverage, 0.0, 1.0);
  uint8_t* pixel = image_->at(y, x);
  pixel[0] = to_byte(pixel[0] + (color.r - pixel[0]) * alpha);
  pixel[1] = to_byte(pixel[1] + (color.g - pixel[1]) * alpha);
  pixel[2] = to_byte(pixel[2] + (color.b - pixel[2]) * alpha);
}

void Canvas::fill(const Path& path, const Color& color) { fill_with(path, &color, nullptr); }
void Canvas::fill(const Path& path, const Paint& paint) { fill_with(path, nullptr, &paint); }

void Canvas::fill_with(const Path& path, const Color* color, const Paint* paint) {
  double x0 = static_cast<double>(width()), y0 = static_cast<double>(height()), x1 = 0, y1 = 0;
  for (const auto& contour : path.contours()) {
    for (const Point& p : contour) {
      TESSERA_CHECK(ValueError, finite(p), "canvas: a path contains a point that is not finite");
      x0 = std::min(x0, p.x), x1 = std::max(x1, p.x);
      y0 = std::min(y0, p.y), y1 = std::max(y1, p.y);
    }
  }
  const auto left = static_cast<int64_t>(std::floor(std::max(x0, 0.0)));
  const auto top = static_cast<int64_t>(std::floor(std::max(y0, 0.0)));
  const auto right = static_cast<int64_t>(std::ceil(std::min(x1, static_cast<double>(width()))));
  const auto bottom = static_cast<int64_t>(std::ceil(std::min(y1, static_cast<double>(height()))));
  if (right <= left || bottom <= top) return;

  CoverageBuffer buffer(left, top, right - left, bottom - top);
  for (const auto& contour : path.contours()) {
    for (size_t i = 0; i < contour.size(); ++i) {
      buffer.add_edge(contour[i], contour[(i + 1) % contour.size()]);
    }
  }
  buffer.for_each([&](int64_t y, int64_t x, double coverage) {
    blend(y, x,
          color ? *color : (*paint)(static_cast<double>(x) + 0.5, static_cast<double>(y) + 0.5),
          coverage);
  });
}

void Canvas::line(Point a, Point b, const Color& color, double thickness) {
  const Point points[] = {a, b};
  polyline(points, color, thickness);
}

void Canvas::polyline(std::span<const Point> points, const Color& color, double thickness,
                      bool closed) {
  if (closed && std::all_of(points.begin(), points.end(), finite)) {
    fill(Path::stroke(points, thickness, true), color);
    return;
  }
  for (size_t begin = 0; begin < points.size();) {
    size_t end = begin;
    while (end < points.size() && finite(points[end])) ++end;
    if (end > begin) fill(Path::stroke(points.subspan(begin, end - begin), thickness), color);
    begin = end + 1;
  }
}

void Canvas::rectangle(const Rect& r, const Color& color, double thickness) {
  const double t = std::min({thickness, r.width / 2, r.height / 2});
  fill_rectangle({r.x, r.y, r.width, t}, color);
  fill_rectangle({r.x, r.y + r.height - t, r.width, t}, color);
  fill_rectangle({r.x, r.y + t, t, r.height - 2 * t}, color);
  fill_rectangle({r.x + r.width - t, r.y + t, t, r.height - 2 * t}, color);
}

void Canvas::fill_rectangle(const Rect& rect, const Color& color) {
  fill(Path::rectangle(rect), color);
}

void Canvas::circle(Point center, double radius, const Color& color, double thickness) {
  ellipse(center, radius, radius, color, thickness);
}

void Canvas::fill_circle(Point center, double radius, const Color& color) {
  fill_ellipse(center, radius, radius, color);
}

void Canvas::ellipse(Point center, double radius_x, double radius_y, const Color& color,
                     double thickness) {
  const Path outline = Path::ellipse(center, radius_x, radius_y);
  fill(Path::stroke(outline.contours()[0], thickness, true), color);
}

void Canvas::fill_ellipse(Point center, double radius_x, double radius_y, const Color& color) {
  fill(Path::ellipse(center, radius_x, radius_y), color);
}

void Canvas::fill_polygon(std::span<const Point> points, const Color& color) {
  fill(Path::polygon(points), color);
}

void Canvas::paste(const Image& source, const Rect& target, double opacity) {
  const auto x0 = static_cast<int64_t>(std::lround(target.x));
  const auto y0 = static_cast<int64_t>(std::lround(target.y));
  const auto x1 = static_cast<int64_t>(std::lround(target.x + target.width));
  const auto y1 = static_cast<int64_t>(std::lround(target.y + target.height));
  if (source.empty() || x1 <= x0 || y1 <= y0) return;
  const Image pixels = rescale(source, y1 - y0, x1 - x0);
  for (int64_t y = 0; y < pixels.height; ++y) {
    for (int64_t x = 0; x < pixels.width; ++x) {
      const uint8_t* p = pixels.at(y, x);
      const bool grey = pixels.channels < 3;
      const double alpha = pixels.channels == 4 ? p[3] / 255.0 : 1.0;
      blend(y0 + y, x0 + x, {p[0], grey ? p[0] : p[1], grey ? p[0] : p[2], alpha}, opacity);
    }
  }
}

}  // namespace tessera::data

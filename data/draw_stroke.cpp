#include <algorithm>
#include <cmath>
#include <numbers>

#include "data/draw.h"

namespace tessera::data {
namespace {

constexpr double kSmoothCosine = 0.8;  // turns below about 37 degrees belong to a curve

Point direction(Point a, Point b) {
  const double length = std::hypot(b.x - a.x, b.y - a.y);
  return {(b.x - a.x) / length, (b.y - a.y) / length};
}

Point normal(Point d) { return {-d.y, d.x}; }

double dot(Point a, Point b) { return a.x * b.x + a.y * b.y; }

bool same(Point a, Point b) { return std::hypot(a.x - b.x, a.y - b.y) < 1e-9; }

/// Where the edges of two neighbouring pieces meet, as a multiple of the half thickness.
Point miter(Point before, Point after) {
  const Point a = normal(before), b = normal(after);
  const double scale = 1 / (1 + dot(a, b));
  return {(a.x + b.x) * scale, (a.y + b.y) * scale};
}

/// Half a disc round `center`: from center + start over center + over to center - start.
void add_cap(std::vector<Point>& outline, Point center, Point start, Point over, double radius) {
  const int steps = std::clamp(static_cast<int>(radius * 2) + 4, 4, 48);
  for (int i = 1; i < steps; ++i) {
    const double angle = std::numbers::pi * i / steps;
    const double c = radius * std::cos(angle), s = radius * std::sin(angle);
    outline.push_back({center.x + start.x * c + over.x * s, center.y + start.y * c + over.y * s});
  }
}

Point offset(Point p, Point by, double amount) {
  return {p.x + by.x * amount, p.y + by.y * amount};
}

/// A curve without sharp turns: one outline, so that its edges are not covered twice.
Path ribbon(std::span<const Point> points, double radius) {
  std::vector<Point> sides;
  for (size_t i = 0; i < points.size(); ++i) {
    const Point before = direction(points[i > 0 ? i - 1 : 0], points[i > 0 ? i : 1]);
    const Point after = i + 1 < points.size() ? direction(points[i], points[i + 1]) : before;
    sides.push_back(miter(before, after));
  }
  const Point first = direction(points[0], points[1]);
  const Point last = direction(points[points.size() - 2], points.back());
  std::vector<Point> outline;
  for (size_t i = 0; i < points.size(); ++i) outline.push_back(offset(points[i], sides[i], radius));
  add_cap(outline, points.back(), normal(last), last, radius);
  for (size_t i = points.size(); i-- > 0;) outline.push_back(offset(points[i], sides[i], -radius));
  const Point back = normal(first);
  add_cap(outline, points[0], {-back.x, -back.y}, {-first.x, -first.y}, radius);
  return Path::polygon(outline);
}

/// A closed curve without sharp turns: an outer contour and an inner one against it.
Path ring(std::span<const Point> points, double radius) {
  const size_t n = points.size();
  std::vector<Point> outer, inner;
  for (size_t i = 0; i < n; ++i) {
    const Point side = miter(direction(points[(i + n - 1) % n], points[i]),
                             direction(points[i], points[(i + 1) % n]));
    outer.push_back(offset(points[i], side, radius));
    inner.push_back(offset(points[i], side, -radius));
  }
  std::reverse(inner.begin(), inner.end());
  return Path::polygon(outer).add(Path::polygon(inner));
}

}  // namespace

Path Path::stroke(std::span<const Point> points, double thickness, bool closed) {
  const double radius = thickness / 2;
  std::vector<Point> line;
  for (const Point& p : points) {
    if (line.empty() || !same(line.back(), p)) line.push_back(p);
  }
  if (line.size() > 2 && same(line.front(), line.back())) {
    line.pop_back();
    closed = true;
  }
  if (line.empty()) return {};
  if (line.size() == 1) return ellipse(line[0], radius, radius);
  closed = closed && line.size() > 2;
  const size_t n = line.size();
  const auto sharp = [&](size_t i) {
    return dot(direction(line[(i + n - 1) % n], line[i]), direction(line[i], line[(i + 1) % n])) <
           kSmoothCosine;
  };
  if (closed) {
    size_t corner = 0;
    while (corner < n && !sharp(corner)) ++corner;
    if (corner == n) return ring(line, radius);
    std::rotate(line.begin(), line.begin() + static_cast<int64_t>(corner), line.end());
    line.push_back(line.front());
  }
  // Cut at the corners; the round ends of the pieces fill them.
  Path path;
  size_t begin = 0;
  for (size_t i = 1; i < line.size(); ++i) {
    const bool end = i + 1 == line.size();
    if (!end &&
        dot(direction(line[i - 1], line[i]), direction(line[i], line[i + 1])) >= kSmoothCosine) {
      continue;
    }
    path.add(ribbon(std::span(line).subspan(begin, i - begin + 1), radius));
    begin = i;
  }
  return path;
}

}  // namespace tessera::data

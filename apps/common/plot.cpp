#include "apps/common/plot.h"

#include <algorithm>
#include <cmath>

#include "apps/common/text.h"

namespace tessera::apps {
namespace {

using data::Color;
using data::Point;
using data::TextAnchor;

/// What a figure is drawn with: one implementation writes SVG, the other pixels.
class Painter {
 public:
  enum class Role { kText, kMuted, kAxis, kGrid };
  virtual ~Painter() = default;
  virtual void line(Point a, Point b, Role role) = 0;
  virtual void curve(const std::vector<Point>& points, const Color& color, bool dashed) = 0;
  virtual void dot(Point center, const Color& color) = 0;
  virtual void text(Point at, const std::string& text, Role role, double size, TextAnchor anchor,
                    bool bold, bool upright) = 0;
};

class SvgPainter : public Painter {
 public:
  void line(Point a, Point b, Role role) override {
    out_ += cat("<line x1=\"", num(a.x), "\" y1=\"", num(a.y), "\" x2=\"", num(b.x), "\" y2=\"",
                num(b.y), "\" stroke=\"currentColor\" stroke-opacity=\"",
                role == Role::kGrid ? "0.13" : "0.55", "\"/>\n");
  }
  void curve(const std::vector<Point>& points, const Color& color, bool dashed) override {
    out_ +=
        "<polyline fill=\"none\" stroke-width=\"2\" stroke-linejoin=\"round\" "
        "stroke-linecap=\"round\" stroke=\"" +
        hex(color) + "\"";
    if (dashed) out_ += " stroke-dasharray=\"6 5\"";
    out_ += " points=\"";
    for (const Point& p : points) out_ += num(p.x) + "," + num(p.y) + " ";
    out_ += "\"/>\n";
  }
  void dot(Point center, const Color& color) override {
    out_ += cat("<circle cx=\"", num(center.x), "\" cy=\"", num(center.y), "\" r=\"3\" fill=\"",
                hex(color), "\"/>\n");
  }
  void text(Point at, const std::string& text, Role role, double size, TextAnchor anchor, bool bold,
            bool upright) override {
    constexpr const char* kAnchors[] = {"start", "middle", "end"};
    out_ +=
        cat("<text x=\"", num(at.x), "\" y=\"", num(at.y), "\" font-size=\"", num(size),
            "\" fill=\"currentColor\" text-anchor=\"", kAnchors[static_cast<int>(anchor)], "\"");
    if (role == Role::kMuted) out_ += " fill-opacity=\"0.7\"";
    if (bold) out_ += " font-weight=\"600\"";
    if (upright) out_ += cat(" transform=\"rotate(-90 ", num(at.x), " ", num(at.y), ")\"");
    out_ += cat(">", escape_html(text), "</text>\n");
  }
  std::string take() { return std::move(out_); }

 private:
  static std::string num(double v) {
    std::string text = format_fixed(v, 1);
    if (text.ends_with(".0")) text.resize(text.size() - 2);
    return text;
  }
  static std::string hex(const Color& c) {
    constexpr char kDigits[] = "0123456789abcdef";
    std::string text = "#";
    for (const uint8_t v : {c.r, c.g, c.b}) text += {kDigits[v >> 4], kDigits[v & 15]};
    return text;
  }
  std::string out_;
};

class ImagePainter : public Painter {
 public:
  explicit ImagePainter(data::Image& image) : canvas_(image) {}
  void line(Point a, Point b, Role role) override {
    // Straight axes on pixel centres stay one pixel wide.
    const auto snap = [](Point p) { return Point{std::floor(p.x) + 0.5, std::floor(p.y) + 0.5}; };
    canvas_.line(snap(a), snap(b), color_of(role), 1);
  }
  void curve(const std::vector<Point>& points, const Color& color, bool dashed) override {
    if (!dashed) return canvas_.polyline(points, color, 2);
    // Walk along the line and draw 6 of every 11 pixels.
    double travelled = 0;
    for (size_t i = 1; i < points.size(); ++i) {
      const Point a = points[i - 1], b = points[i];
      const double length = std::hypot(b.x - a.x, b.y - a.y);
      for (double s = 0; s < length;) {
        const double phase = std::fmod(travelled + s, 11);
        const double step = std::min(length - s, (phase < 6 ? 6 : 11) - phase + 1e-6);
        const auto along = [&](double d) {
          return Point{a.x + (b.x - a.x) * d / length, a.y + (b.y - a.y) * d / length};
        };
        if (phase < 6) canvas_.line(along(s), along(s + step), color, 2);
        s += step;
      }
      travelled += length;
    }
  }
  void dot(Point center, const Color& color) override { canvas_.fill_circle(center, 3, color); }
  void text(Point at, const std::string& text, Role role, double size, TextAnchor anchor, bool bold,
            bool upright) override {
    const double weight = bold ? 1.5 : 1;
    if (!upright) {
      canvas_.text(at, text, color_of(role), {.size = size, .weight = weight, .anchor = anchor});
      return;
    }
    // Drawn flat on its own sheet, then turned a quarter to the left.
    const auto length = static_cast<int64_t>(data::text_width(text, size)) + 4;
    const auto rows = static_cast<int64_t>(size * 1.5);
    data::Image sheet(rows, length, 3, 255);
    data::Canvas(sheet).text({2, static_cast<double>(rows) * 0.72}, text, color_of(role),
                             {.size = size, .weight = weight});
    const auto x0 = static_cast<int64_t>(at.x - static_cast<double>(rows) * 0.72);
    const auto y0 = static_cast<int64_t>(at.y) + length / 2;
    for (int64_t y = 0; y < rows; ++y) {
      for (int64_t x = 0; x < length; ++x) {
        const uint8_t* p = sheet.at(y, x);
        canvas_.blend(y0 - x, x0 + y, {p[0], p[1], p[2]});
      }
    }
  }

 private:
  static Color color_of(Role role) {
    switch (role) {
      case Role::kText:
        return data::colors::kInk;
      case Role::kMuted:
        return data::colors::kMuted;
      case Role::kAxis:
        return {140, 146, 156};
      default:
        return data::colors::kGrid;
    }
  }
  data::Canvas canvas_;
};

struct Range {
  double low = 0, high = 1;
};

/// Limits of the finite values, widened where they coincide; `fixed_*` win where given.
Range fit(const std::vector<PlotSeries>& series, bool y_axis, bool log, double fixed_low,
          double fixed_high) {
  double low = INFINITY, high = -INFINITY;
  for (const PlotSeries& s : series) {
    for (const double v : y_axis ? s.y : s.x) {
      if (!std::isfinite(v) || (log && v <= 0)) continue;
      low = std::min(low, v), high = std::max(high, v);
    }
  }
  if (low > high) low = log ? 0.1 : 0, high = 1;
  if (y_axis && log) low /= 1.1, high *= 1.1;
  if (y_axis && !log) {
    const double margin = (high - low) * 0.05;
    // Keep a zero base line where the data touch it.
    low = low >= 0 && low - margin < 0 ? 0 : low - margin;
    high += margin;
  }
  if (std::isfinite(fixed_low)) low = fixed_low;
  if (std::isfinite(fixed_high)) high = fixed_high;
  if (!(low < high)) {
    const double pad = log ? 0 : std::max(std::abs(low) * 0.1, 0.5);
    high = log ? low * 2 : low + pad;
    low = log ? low / 2 : low - pad;
  }
  TESSERA_CHECK(ValueError, !log || low > 0, "plot: a logarithmic axis cannot start at ", low);
  return {low, high};
}

class Layout {
 public:
  explicit Layout(const Plot& plot) : plot_(plot), o_(plot.options) {
    TESSERA_CHECK(ValueError, o_.width >= 120 && o_.height >= 90,
                  "plot: the picture must be at least 120 x 90, got ", o_.width, " x ", o_.height);
    for (const PlotSeries& s : plot.series) {
      TESSERA_CHECK(ValueError, s.x.size() == s.y.size(), "plot: series '", s.name, "' has ",
                    s.x.size(), " x values and ", s.y.size(), " y values");
    }
    x_ = fit(plot.series, false, false, o_.x_min, o_.x_max);
    y_ = fit(plot.series, true, o_.log_y, o_.y_min, o_.y_max);
    const bool legend = std::any_of(plot.series.begin(), plot.series.end(),
                                    [](const PlotSeries& s) { return !s.name.empty(); });
    top_ = 14 + (o_.title.empty() ? 0 : 20) + (legend ? 20 : 0);
    bottom_ = o_.height - 26 - (o_.x_label.empty() ? 0 : 18);
    left_ = 48 + (o_.y_label.empty() ? 0 : 18);
    right_ = o_.width - 16;
  }

  void draw(Painter& painter) const {
    axes(painter);
    legend(painter);
    for (size_t i = 0; i < plot_.series.size(); ++i) curve(painter, plot_.series[i], color(i));
  }

 private:
  static Color color(size_t i) { return data::colors::kSeries[i % data::colors::kSeries.size()]; }
  double px(double x) const { return left_ + (x - x_.low) / (x_.high - x_.low) * (right_ - left_); }
  double py(double y) const {
    const double t = o_.log_y ? std::log(y / y_.low) / std::log(y_.high / y_.low)
                              : (y - y_.low) / (y_.high - y_.low);
    return bottom_ - t * (bottom_ - top_);
  }

  void axes(Painter& painter) const {
    using Role = Painter::Role;
    const auto ys = o_.log_y ? log_ticks(y_.low, y_.high) : nice_ticks(y_.low, y_.high, 7);
    const auto xs = nice_ticks(x_.low, x_.high, std::max(3, o_.width / 70));
    for (const double y : ys) {
      painter.line({left_, py(y)}, {right_, py(y)}, Role::kGrid);
      const double step = o_.log_y ? y : ys[1] - ys[0];
      painter.text({left_ - 7, py(y) + 4}, tick_label(y, step), Role::kMuted, 11,
                   TextAnchor::kRight, false, false);
    }
    for (const double x : xs) {
      painter.line({px(x), bottom_}, {px(x), bottom_ + 4}, Role::kAxis);
      painter.text({px(x), bottom_ + 17}, tick_label(x, xs[1] - xs[0]), Role::kMuted, 11,
                   TextAnchor::kCenter, false, false);
    }
    painter.line({left_, bottom_}, {right_, bottom_}, Role::kAxis);
    const double middle_x = (left_ + right_) / 2, middle_y = (top_ + bottom_) / 2;
    if (!o_.title.empty()) {
      painter.text({left_, 20}, o_.title, Role::kText, 14, TextAnchor::kLeft, true, false);
    }
    if (!o_.x_label.empty()) {
      painter.text({middle_x, o_.height - 8.0}, o_.x_label, Role::kMuted, 12, TextAnchor::kCenter,
                   false, false);
    }
    if (!o_.y_label.empty()) {
      painter.text({15, middle_y}, o_.y_label, Role::kMuted, 12, TextAnchor::kCenter, false, true);
    }
  }

  void legend(Painter& painter) const {
    double x = left_;
    const double y = top_ - 14;
    for (size_t i = 0; i < plot_.series.size(); ++i) {
      const PlotSeries& s = plot_.series[i];
      if (s.name.empty()) continue;
      painter.curve({{x, y}, {x + 18, y}}, color(i), s.dashed);
      painter.text({x + 24, y + 4}, s.name, Painter::Role::kText, 12, TextAnchor::kLeft, false,
                   false);
      x += 24 + data::text_width(s.name, 12) + 18;
    }
  }

  /// Draws the unbroken stretches; values beyond fixed limits are cut to the frame's edge.
  void curve(Painter& painter, const PlotSeries& s, const Color& color) const {
    std::vector<Point> stretch;
    const auto finish = [&] {
      if (stretch.size() > 1) painter.curve(stretch, color, s.dashed);
      if (stretch.size() == 1 || s.markers) {
        for (const Point& p : stretch) painter.dot(p, color);
      }
      stretch.clear();
    };
    for (size_t i = 0; i < s.x.size(); ++i) {
      if (!std::isfinite(s.x[i]) || !std::isfinite(s.y[i]) || (o_.log_y && s.y[i] <= 0)) {
        finish();
        continue;
      }
      stretch.push_back(
          {std::clamp(px(s.x[i]), left_, right_), std::clamp(py(s.y[i]), top_, bottom_)});
    }
    finish();
  }

  const Plot& plot_;
  const PlotOptions& o_;
  Range x_, y_;
  double left_ = 0, right_ = 0, top_ = 0, bottom_ = 0;
};

}  // namespace

std::string plot_svg(const Plot& plot) {
  const Layout layout(plot);
  SvgPainter painter;
  layout.draw(painter);
  const PlotOptions& o = plot.options;
  return cat("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 ", o.width, " ", o.height,
             "\" width=\"", o.width, "\" height=\"", o.height,
             "\" font-family=\"system-ui, sans-serif\" role=\"img\" aria-label=\"",
             escape_html(o.title.empty() ? "plot" : o.title), "\">\n", painter.take(), "</svg>\n");
}

data::Image plot_image(const Plot& plot) {
  const Layout layout(plot);
  data::Image image(plot.options.height, plot.options.width, 3, 255);
  ImagePainter painter(image);
  layout.draw(painter);
  return image;
}

}  // namespace tessera::apps

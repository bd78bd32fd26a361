#pragma once

#include <limits>
#include <string>
#include <vector>

#include "data/draw.h"

/// Line plots for reports: the same figure as inline SVG (follows the page's colours) or as pixels.
namespace tessera::apps {

struct PlotSeries {
  std::string name;              // legend entry; empty: none
  std::vector<double> x{}, y{};  // same length; a value that is not finite leaves a gap
  bool markers = false;          // a dot at every point
  bool dashed = false;
};

struct PlotOptions {
  std::string title, x_label, y_label;
  int width = 560, height = 320;  // pixels
  bool log_y = false;             // values <= 0 become gaps
  /// Axis limits; NaN (the default) fits the data. With log_y they must be positive.
  double y_min = kFit, y_max = kFit, x_min = kFit, x_max = kFit;

  static constexpr double kFit = std::numeric_limits<double>::quiet_NaN();
};

struct Plot {
  PlotOptions options;
  std::vector<PlotSeries> series;
};

/// Positions of 2 .. `most` round tick values (1, 2 or 5 times a power of ten apart) inside
/// [low, high]. Throws ValueError unless low < high, both finite, and most >= 2.
std::vector<double> nice_ticks(double low, double high, int most);
/// Powers of ten inside [low, high], with 2 and 5 times them where fewer than three would remain.
std::vector<double> log_ticks(double low, double high);
/// Shortest text that tells ticks `step` apart from each other: 0.25, 1500, 2e-06.
std::string tick_label(double value, double step);

/// The figure as one <svg> element. Lines and text use currentColor, so they follow a light or dark
/// page; series have fixed colours. Throws ValueError where x and y of a series differ in length
/// or the picture is smaller than 120 x 90.
std::string plot_svg(const Plot& plot);
/// The figure as pixels on white. Throws like plot_svg.
data::Image plot_image(const Plot& plot);

}  // namespace tessera::apps

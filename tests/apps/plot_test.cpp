#include "apps/common/plot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace tessera::apps {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

size_t count(const std::string& text, const std::string& word) {
  size_t n = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++n;
  return n;
}

size_t coloured(const data::Image& image, const data::Color& color) {
  size_t n = 0;
  for (size_t i = 0; i < image.pixels.size(); i += 3) {
    n += image.pixels[i] == color.r && image.pixels[i + 1] == color.g &&
         image.pixels[i + 2] == color.b;
  }
  return n;
}

TEST(NiceTicks, KnownRanges) {
  using V = std::vector<double>;
  EXPECT_EQ(nice_ticks(0, 10, 6), (V{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(nice_ticks(0, 1, 3), (V{0, 0.5, 1}));
  EXPECT_EQ(nice_ticks(-3, 7, 5), (V{-2, 0, 2, 4, 6}));
  EXPECT_EQ(nice_ticks(0, 20, 8), (V{0, 5, 10, 15, 20}));
}

TEST(NiceTicks, PropertiesOverManyRanges) {
  for (double low : {-1234.5, -1.0, -1e-5, 0.0, 3.3, 7e8}) {
    for (double span : {1e-4, 0.37, 1.0, 9.99, 5e3, 1e9}) {
      for (int most : {2, 3, 5, 9}) {
        const double high = low + span;
        const auto ticks = nice_ticks(low, high, most);
        ASSERT_GE(ticks.size(), 2u) << low << " " << high;
        ASSERT_LE(ticks.size(), static_cast<size_t>(most));
        EXPECT_GE(ticks.front(), low - span * 1e-6);
        EXPECT_LE(ticks.back(), high + span * 1e-6);
        const double step = ticks[1] - ticks[0];
        for (size_t i = 1; i < ticks.size(); ++i) {
          EXPECT_NEAR(ticks[i] - ticks[i - 1], step, std::max(step, std::abs(high)) * 1e-6);
        }
      }
    }
  }
}

TEST(NiceTicks, Errors) {
  EXPECT_THROW(nice_ticks(1, 1, 5), ValueError);
  EXPECT_THROW(nice_ticks(0, kNan, 5), ValueError);
  EXPECT_THROW(nice_ticks(0, 1, 1), ValueError);
  EXPECT_THROW(log_ticks(0, 1), ValueError);
}

TEST(LogTicks, DecadesAndSubdivisions) {
  const auto decades = log_ticks(0.001, 10);
  ASSERT_EQ(decades.size(), 5u);
  EXPECT_NEAR(decades[0], 0.001, 1e-12);
  EXPECT_NEAR(decades[4], 10, 1e-9);
  const auto within = log_ticks(0.15, 6);
  ASSERT_EQ(within.size(), 5u);  // 0.2 0.5 1 2 5
  EXPECT_NEAR(within[0], 0.2, 1e-12);
  EXPECT_LE(log_ticks(1e-30, 1e30).size(), 8u);
  EXPECT_GE(log_ticks(3, 4).size(), 2u);
}

TEST(TickLabel, TellsNeighboursApart) {
  EXPECT_EQ(tick_label(0, 0.1), "0");
  EXPECT_EQ(tick_label(0.25, 0.05), "0.25");
  EXPECT_EQ(tick_label(0.3, 0.1), "0.3");
  EXPECT_EQ(tick_label(1500, 500), "1500");
  EXPECT_EQ(tick_label(2e-6, 1e-6), "2e-6");
  EXPECT_EQ(tick_label(-2.5e7, 5e6), "-2.5e7");
  for (const auto& [low, high] : {std::pair{0.0, 1e-5}, {0.0, 0.013}, {3.0, 3.7}, {0.0, 4e6}}) {
    const auto ticks = nice_ticks(low, high, 7);
    std::vector<std::string> labels;
    for (const double t : ticks) labels.push_back(tick_label(t, ticks[1] - ticks[0]));
    std::sort(labels.begin(), labels.end());
    EXPECT_EQ(std::adjacent_find(labels.begin(), labels.end()), labels.end());
  }
}

Plot two_curves() {
  Plot plot;
  plot.options.title = "Loss <a & b>";
  plot.options.x_label = "epoch";
  plot.series = {{.name = "train", .x = {0, 1, 2, 3, 4}, .y = {4, 2, kNan, 1, 0.5}},
                 {.name = "test", .x = {0, 2, 4}, .y = {5, 3, 2}, .markers = true}};
  return plot;
}

TEST(PlotSvg, HasCurvesGapsMarkersAndEscapedText) {
  const std::string svg = plot_svg(two_curves());
  EXPECT_EQ(svg.rfind("<svg ", 0), 0u);
  EXPECT_NE(svg.find("</svg>"), std::string::npos);
  EXPECT_EQ(count(svg, "<polyline"), 2u + 1u + 2u);  // two stretches, one curve, two legend lines
  EXPECT_EQ(count(svg, "<circle"), 3u);
  EXPECT_EQ(count(svg, "Loss &lt;a &amp; b&gt;"), 2u);  // title and label
  EXPECT_EQ(svg.find("<a & b>"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

TEST(PlotSvg, LogAxisTurnsNonPositiveValuesIntoGaps) {
  Plot plot;
  plot.options.log_y = true;
  plot.series = {{.name = "", .x = {0, 1, 2, 3, 4}, .y = {1, 0.1, 0, 0.01, 0.001}}};
  const std::string svg = plot_svg(plot);
  EXPECT_EQ(count(svg, "<polyline"), 2u);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
  plot.options.y_min = -1;
  EXPECT_THROW(plot_svg(plot), ValueError);
}

TEST(PlotSvg, DegenerateData) {
  Plot plot;
  EXPECT_NO_THROW(plot_svg(plot));  // no series at all
  plot.series = {{.name = "one", .x = {3}, .y = {7}}};
  EXPECT_EQ(count(plot_svg(plot), "<circle"), 1u);  // a single value is shown as a dot
  plot.series = {{.name = "flat", .x = {0, 1}, .y = {0, 0}}};
  EXPECT_EQ(plot_svg(plot).find("nan"), std::string::npos);
  plot.series = {{.name = "none", .x = {kNan}, .y = {kNan}}};
  EXPECT_EQ(plot_svg(plot).find("nan"), std::string::npos);
}

TEST(PlotSvg, Errors) {
  Plot plot = two_curves();
  plot.series[0].y.pop_back();
  EXPECT_THROW(plot_svg(plot), ValueError);
  plot = two_curves();
  plot.options.width = 50;
  EXPECT_THROW(plot_svg(plot), ValueError);
  EXPECT_THROW(plot_image(plot), ValueError);
}

TEST(PlotImage, DrawsEverySeriesInItsColour) {
  Plot plot = two_curves();
  plot.options.y_label = "loss";
  const data::Image image = plot_image(plot);
  EXPECT_EQ(image.width, plot.options.width);
  EXPECT_EQ(image.height, plot.options.height);
  const size_t first = coloured(image, data::colors::kSeries[0]);
  EXPECT_GT(first, 100u);
  EXPECT_GT(coloured(image, data::colors::kSeries[1]), 100u);
  EXPECT_EQ(plot_image(plot), image);
  plot.series[0].dashed = true;
  const size_t dashed = coloured(plot_image(plot), data::colors::kSeries[0]);
  EXPECT_LT(dashed, first * 4 / 5);
  EXPECT_GT(dashed, first / 4);
}

}  // namespace
}  // namespace tessera::apps

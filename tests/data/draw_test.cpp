#include "data/draw.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "data/draw_font.h"

namespace tessera::data {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// Ink on a white image, in pixels fully covered by black.
double ink(const Image& image) {
  double sum = 0;
  for (const uint8_t v : image.pixels) sum += 255 - v;
  return sum / (255.0 * 3);
}

Image white(int64_t height, int64_t width) { return Image(height, width, 3, 255); }

TEST(Canvas, RefusesImagesThatAreNotRgb) {
  Image grey(4, 4, 1);
  EXPECT_THROW(Canvas{grey}, ValueError);
  Image torn(4, 4, 3);
  torn.pixels.resize(5);
  EXPECT_THROW(Canvas{torn}, ValueError);
}

TEST(Canvas, RectangleOnWholePixelsIsExact) {
  Image image = white(6, 8);
  Canvas(image).fill_rectangle({2, 1, 3, 4}, colors::kBlack);
  for (int64_t y = 0; y < 6; ++y) {
    for (int64_t x = 0; x < 8; ++x) {
      const bool inside = x >= 2 && x < 5 && y >= 1 && y < 5;
      EXPECT_EQ(image.at(y, x)[0], inside ? 0 : 255) << y << ", " << x;
    }
  }
}

TEST(Canvas, CoverageIsTheCoveredArea) {
  Image image = white(4, 4);
  Canvas(image).fill_rectangle({1.25, 1.5, 1, 1}, colors::kBlack);
  EXPECT_NEAR(image.at(1, 1)[0], 255 * (1 - 0.75 * 0.5), 1);
  EXPECT_NEAR(image.at(1, 2)[0], 255 * (1 - 0.25 * 0.5), 1);
  EXPECT_NEAR(ink(image), 1.0, 0.01);
}

TEST(Canvas, AreasOfShapesMatchGeometry) {
  const double pi = std::numbers::pi;
  Image disc = white(60, 60), ring = white(60, 60), triangle = white(60, 60), limb = white(60, 60);
  Canvas(disc).fill_circle({30.3, 29.6}, 20, colors::kBlack);
  EXPECT_NEAR(ink(disc), pi * 400, 4);
  Canvas(ring).circle({30, 30}, 20, colors::kBlack, 4);
  EXPECT_NEAR(ink(ring), pi * (22 * 22 - 18 * 18), 6);
  const Point corners[] = {{5, 5}, {55, 10}, {20, 50}};
  Canvas(triangle).fill_polygon(corners, colors::kBlack);
  EXPECT_NEAR(ink(triangle), 1087.5, 2);
  Canvas(limb).line({10, 30}, {50, 30}, colors::kBlack, 6);
  EXPECT_NEAR(ink(limb), 40 * 6 + pi * 9, 2);
}

TEST(Canvas, ClippingNeitherWritesOutsideNorChangesWhatIsInside) {
  // The same shape on a large sheet and on a window of it.
  const Path path = Path::ellipse({4, 6}, 9, 14);
  Image large = white(60, 60), window = white(12, 10);
  Path moved = Path::ellipse({24, 26}, 9, 14);
  Canvas(large).fill(moved, colors::kRed);
  Canvas(window).fill(path, colors::kRed);
  for (int64_t y = 0; y < 12; ++y) {
    for (int64_t x = 0; x < 10; ++x) {
      EXPECT_NEAR(window.at(y, x)[1], large.at(y + 20, x + 20)[1], 3) << y << ", " << x;
    }
  }
  Image outside = white(5, 5);
  Canvas canvas(outside);
  canvas.fill_circle({-50, 2}, 10, colors::kBlack);
  canvas.line({-5, 20}, {100, 20}, colors::kBlack, 3);
  canvas.blend(-1, 0, colors::kBlack);
  canvas.blend(0, 5, colors::kBlack);
  EXPECT_EQ(outside, white(5, 5));
}

TEST(Canvas, OverlapsUniteAndOppositeContoursCutHoles) {
  Image crossing = white(40, 40), frame = white(40, 40);
  const Point angle[] = {{5, 5}, {35, 20}, {5, 35}};
  Canvas(crossing).fill(Path::stroke(angle, 8), colors::kBlack.with_alpha(0.5));
  for (const uint8_t v : crossing.pixels) EXPECT_GE(v, 126) << "an overlap was blended twice";
  const Point hole[] = {{10, 10}, {10, 30}, {30, 30}, {30, 10}};  // against the rectangle's sense
  Canvas(frame).fill(Path::rectangle({5, 5, 30, 30}).add(Path::polygon(hole)), colors::kBlack);
  EXPECT_EQ(frame.at(20, 20)[0], 255);
  EXPECT_NEAR(ink(frame), 900 - 400, 1);
}

TEST(Canvas, OpacityBlends) {
  Image image = white(3, 3);
  Canvas(image).fill_rectangle({0, 0, 3, 3}, colors::kBlack.with_alpha(0.25));
  EXPECT_NEAR(image.at(1, 1)[0], 191, 1);
}

TEST(Canvas, PaintIsAskedAtPixelCentres) {
  Image image = white(1, 4);
  Canvas(image).fill(Path::rectangle({0, 0, 4, 1}), Paint([](double x, double y) {
                       EXPECT_EQ(y, 0.5);
                       return Color{static_cast<uint8_t>(x * 10), 0, 0};
                     }));
  EXPECT_EQ(image.at(0, 0)[0], 5);
  EXPECT_EQ(image.at(0, 3)[0], 35);
}

TEST(Canvas, BadNumbers) {
  Image image = white(20, 20);
  Canvas canvas(image);
  EXPECT_THROW(canvas.fill_circle({kNan, 3}, 2, colors::kBlack), ValueError);
  EXPECT_THROW(canvas.text({1, 10}, "x", colors::kBlack, {.size = 0}), ValueError);
  // A gap in a polyline is drawn as one.
  const Point points[] = {{2, 5}, {6, 5}, {kNan, 5}, {12, 5}, {16, 5}};
  canvas.polyline(points, colors::kBlack, 2);
  EXPECT_EQ(image.at(5, 9)[0], 255);
  EXPECT_LT(image.at(4, 4)[0], 20);
  EXPECT_LT(image.at(4, 14)[0], 20);
}

TEST(Canvas, RoundedRectangleStaysInsideItsBox) {
  Image image = white(30, 40);
  Canvas(image).fill(Path::rounded_rectangle({5, 5, 30, 20}, 100), colors::kBlack);
  // The radius is cut to 10: a stadium.
  EXPECT_NEAR(ink(image), 10 * 20 + std::numbers::pi * 100, 3);
  EXPECT_EQ(image.at(5, 5)[0], 255);
}

TEST(Font, EveryGlyphIsWellFormedAndItsOwn) {
  std::vector<Image> drawn;
  for (int code = font::kFirst; code <= font::kLast; ++code) {
    const std::string text(1, static_cast<char>(code));
    const std::string_view glyph = font::glyph(text[0]);
    const int width = font::digit(glyph[0]);
    bool after_control = false;
    for (size_t i = 2; i < glyph.size();) {
      if (glyph[i] == ' ') {
        EXPECT_FALSE(after_control) << text << " ends a stroke on a control point";
        ++i;
        continue;
      }
      after_control = glyph[i] == '~';
      if (after_control) ++i;
      ASSERT_LT(i + 1, glyph.size()) << text;
      EXPECT_LE(font::digit(glyph[i]), width) << text << " is wider than it says";
      EXPECT_LE(font::digit(glyph[i + 1]), font::kDescender) << text;
      i += 2;
    }
    EXPECT_FALSE(after_control) << text;
    Image image = white(40, 40);
    Canvas(image).text({8, 28}, text, colors::kBlack, {.size = 24});
    EXPECT_EQ(ink(image) > 0, code != ' ') << text;
    for (const Image& other : drawn) EXPECT_NE(image, other) << text << " looks like another";
    drawn.push_back(image);
  }
}

TEST(Font, WidthCoversTheInkAndAnchorsMoveIt) {
  for (const double size : {8.0, 11.0, 20.0, 37.0}) {
    const std::string text = "Rank@1 0.95 jgy";
    const auto width = static_cast<int64_t>(std::ceil(text_width(text, size)));
    Image image = white(static_cast<int64_t>(size * 2), width + 80);
    Canvas(image).text({40, size * 1.3}, text, colors::kBlack, {.size = size});
    int64_t first = image.width, last = 0;
    for (int64_t y = 0; y < image.height; ++y) {
      for (int64_t x = 0; x < image.width; ++x) {
        if (image.at(y, x)[0] < 160) first = std::min(first, x), last = std::max(last, x);
      }
    }
    EXPECT_NEAR(static_cast<double>(first), 40, 0.1 * size + 1);
    EXPECT_NEAR(static_cast<double>(last + 1 - first), static_cast<double>(width), 0.2 * size + 2);
    Image right = white(image.height, image.width);
    const Point end{40.0 + text_width(text, size), size * 1.3};
    Canvas(right).text(end, text, colors::kBlack, {.size = size, .anchor = TextAnchor::kRight});
    EXPECT_EQ(right, image);
  }
}

TEST(Font, CharactersOutsideAsciiAreOneBoxEach) {
  EXPECT_EQ(text_width("\xc3\xa4", 20), text_width("\x01", 20));
  EXPECT_EQ(text_width("\xe2\x82\xac", 20), text_width("\x01", 20));
  EXPECT_EQ(text_width("", 20), 0 + 20 / font::kUnitsPerSize);
}

TEST(Rescale, KeepsConstantsMeansAndIdentity) {
  Image flat(13, 7, 3, 90);
  for (const auto& [h, w] : {std::pair{5, 3}, {26, 14}, {13, 20}, {1, 1}}) {
    for (const uint8_t v : rescale(flat, h, w).pixels) ASSERT_EQ(v, 90) << h << " x " << w;
  }
  Image noise(12, 12, 1);
  for (size_t i = 0; i < noise.pixels.size(); ++i) {
    noise.pixels[i] = static_cast<uint8_t>(i * 37 % 251);
  }
  EXPECT_EQ(rescale(noise, 12, 12), noise);
  const auto mean = [](const Image& image) {
    return std::accumulate(image.pixels.begin(), image.pixels.end(), 0.0) /
           static_cast<double>(image.pixels.size());
  };
  EXPECT_NEAR(mean(rescale(noise, 4, 6)), mean(noise), 0.5);
  EXPECT_NEAR(mean(rescale(noise, 5, 7)), mean(noise), 0.5);  // sizes that do not divide
}

TEST(Rescale, BoxAndLinearByHand) {
  Image image(1, 4, 1);
  image.pixels = {10, 30, 50, 90};
  EXPECT_EQ(rescale(image, 1, 2).pixels, (std::vector<uint8_t>{20, 70}));
  Image two(1, 2, 1);
  two.pixels = {0, 100};
  EXPECT_EQ(rescale(two, 1, 4).pixels, (std::vector<uint8_t>{0, 25, 75, 100}));
  EXPECT_THROW(rescale(image, 0, 2), ValueError);
  EXPECT_THROW(rescale(Image(), 2, 2), ValueError);
}

TEST(Paste, ScalesHonoursOpacityAndClips) {
  Image sheet = white(10, 10);
  Image grey(2, 2, 1, 40), clear(2, 2, 4, 0);
  Canvas canvas(sheet);
  canvas.paste(grey, {-2, -2, 6, 6});
  EXPECT_EQ(sheet.at(3, 3)[2], 40);
  EXPECT_EQ(sheet.at(4, 4)[2], 255);
  canvas.paste(clear, {5, 5, 4, 4});
  EXPECT_EQ(sheet.at(6, 6)[0], 255);
  canvas.paste(grey, {5, 5, 4, 4}, 0.5);
  EXPECT_NEAR(sheet.at(6, 6)[0], 148, 1);
}

TEST(Color, MixAndScale) {
  EXPECT_EQ(mix(colors::kBlack, colors::kWhite, 0.5), (Color{128, 128, 128}));
  EXPECT_EQ(mix(colors::kBlack, colors::kWhite, 7), colors::kWhite);
  EXPECT_EQ(scaled({100, 200, 10}, 2), (Color{200, 255, 20}));
}

}  // namespace
}  // namespace tessera::data

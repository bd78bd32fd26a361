#include <algorithm>
#include <array>
#include <cmath>

#include "data/transform.h"

namespace tessera::data {
namespace {

void check_rgb(const Image& image, const char* op) {
  TESSERA_CHECK(ValueError, image.channels == 3 && !image.pixels.empty(), op,
                ": expected a non-empty RGB image, got ", image.height, " x ", image.width, " x ",
                image.channels);
}

void check_factor(float factor, const char* op) {
  TESSERA_CHECK(ValueError, factor >= 0 && std::isfinite(factor), op,
                ": factor must be >= 0 and finite, got ", factor);
}

int luma(const uint8_t* p) { return (19595 * p[0] + 38470 * p[1] + 7471 * p[2] + 32768) >> 16; }

/// d + factor * (x - d) for 8-bit x and d, truncated and clamped. The products come from a table:
/// multiply and add are never in one expression, so no compiler fuses them into one rounding.
class Blend {
 public:
  explicit Blend(float factor) {
    for (int i = 0; i < 511; ++i)
      product_[static_cast<size_t>(i)] = factor * static_cast<float>(i - 255);
  }
  uint8_t operator()(int d, int x) const {
    const float value = static_cast<float>(d) + product_[static_cast<size_t>(x - d + 255)];
    return static_cast<uint8_t>(std::clamp(value, 0.0f, 255.0f));
  }

 private:
  std::array<float, 511> product_;
};

Image blend_with_constant(const Image& image, int d, float factor) {
  const Blend blend(factor);
  std::array<uint8_t, 256> table;
  for (int x = 0; x < 256; ++x) table[static_cast<size_t>(x)] = blend(d, x);
  Image out = image;
  for (uint8_t& v : out.pixels) v = table[v];
  return out;
}

/// Hue, saturation and value in [0, 255]. Float32 with the double steps of Pillow's converter, so
/// that every colour truncates to the same byte.
std::array<int, 3> rgb_to_hsv(const uint8_t* p) {
  const int r = p[0], g = p[1], b = p[2];
  const int high = std::max({r, g, b}), low = std::min({r, g, b});
  if (high == low) return {0, 0, high};
  const float range = static_cast<float>(high - low);
  const float rc = static_cast<float>(high - r) / range;
  const float gc = static_cast<float>(high - g) / range;
  const float bc = static_cast<float>(high - b) / range;
  float h = 0;
  if (r == high)
    h = bc - gc;
  else if (g == high)
    h = static_cast<float>(2.0 + rc - bc);
  else
    h = static_cast<float>(4.0 + gc - rc);
  h = static_cast<float>(std::fmod(h / 6.0 + 1.0, 1.0));
  const float s = range / static_cast<float>(high);
  return {std::clamp(static_cast<int>(h * 255.0), 0, 255),
          std::clamp(static_cast<int>(s * 255.0), 0, 255), high};
}

void hsv_to_rgb(int h, int s, int v, uint8_t* out) {
  if (s == 0) {
    out[0] = out[1] = out[2] = static_cast<uint8_t>(v);
    return;
  }
  const float saturation = static_cast<float>(s / 255.0);
  const int sector = static_cast<int>(h * 6.0 / 255.0);
  const float f = static_cast<float>(h * 6.0 / 255.0 - sector);
  const auto byte = [v](double x) {
    return static_cast<uint8_t>(std::clamp(static_cast<int>(std::round(v * x)), 0, 255));
  };
  const uint8_t p = byte(1.0 - saturation);
  const uint8_t q = byte(1.0 - saturation * f);
  const uint8_t t = byte(1.0 - saturation * (1.0 - f));
  const uint8_t top = static_cast<uint8_t>(v);
  const std::array<std::array<uint8_t, 3>, 6> sectors = {
      {{top, t, p}, {q, top, p}, {p, top, t}, {p, q, top}, {t, p, top}, {top, p, q}}};
  std::copy_n(sectors[static_cast<size_t>(sector % 6)].data(), 3, out);
}

}  // namespace

Image to_grey(const Image& image) {
  check_rgb(image, "to_grey");
  Image out(image.height, image.width, 1);
  for (size_t i = 0; i < out.pixels.size(); ++i)
    out.pixels[i] = static_cast<uint8_t>(luma(&image.pixels[3 * i]));
  return out;
}

Image adjust_brightness(const Image& image, float factor) {
  check_rgb(image, "adjust_brightness");
  check_factor(factor, "adjust_brightness");
  return blend_with_constant(image, 0, factor);
}

Image adjust_contrast(const Image& image, float factor) {
  check_rgb(image, "adjust_contrast");
  check_factor(factor, "adjust_contrast");
  int64_t sum = 0;
  for (size_t i = 0; i < image.pixels.size(); i += 3) sum += luma(&image.pixels[i]);
  const double mean = static_cast<double>(sum) / static_cast<double>(image.pixels.size() / 3);
  return blend_with_constant(image, static_cast<int>(mean + 0.5), factor);
}

Image adjust_saturation(const Image& image, float factor) {
  check_rgb(image, "adjust_saturation");
  check_factor(factor, "adjust_saturation");
  const Blend blend(factor);
  Image out = image;
  for (size_t i = 0; i < out.pixels.size(); i += 3) {
    const int grey = luma(&out.pixels[i]);
    for (size_t c = i; c < i + 3; ++c) out.pixels[c] = blend(grey, out.pixels[c]);
  }
  return out;
}

Image adjust_hue(const Image& image, double shift) {
  check_rgb(image, "adjust_hue");
  TESSERA_CHECK(ValueError, shift >= -0.5 && shift <= 0.5,
                "adjust_hue: shift must be in [-0.5, 0.5], got ", shift);
  const int turn = static_cast<int>(shift * 255);  // truncated; the sum wraps at 256
  Image out = image;
  for (size_t i = 0; i < out.pixels.size(); i += 3) {
    const std::array<int, 3> hsv = rgb_to_hsv(&image.pixels[i]);
    hsv_to_rgb((hsv[0] + turn) & 255, hsv[1], hsv[2], &out.pixels[i]);
  }
  return out;
}

Image color_jitter(const Image& image, const ColorJitterOptions& o, Generator& generator) {
  TESSERA_CHECK(
      ValueError,
      o.brightness >= 0 && o.contrast >= 0 && o.saturation >= 0 && o.hue >= 0 && o.hue <= 0.5,
      "color_jitter: strengths must be >= 0 and hue <= 0.5, got brightness ", o.brightness,
      ", contrast ", o.contrast, ", saturation ", o.saturation, ", hue ", o.hue);
  std::array<int, 4> order = {0, 1, 2, 3};
  for (size_t i = 3; i > 0; --i)
    std::swap(order[i], order[static_cast<size_t>(generator.randint(static_cast<int64_t>(i) + 1))]);
  const auto factor = [&](double v) {
    return static_cast<float>(generator.uniform(std::max(0.0, 1 - v), 1 + v));
  };
  Image out = image;
  for (const int step : order) {
    if (step == 0 && o.brightness > 0) out = adjust_brightness(out, factor(o.brightness));
    if (step == 1 && o.contrast > 0) out = adjust_contrast(out, factor(o.contrast));
    if (step == 2 && o.saturation > 0) out = adjust_saturation(out, factor(o.saturation));
    if (step == 3 && o.hue > 0) out = adjust_hue(out, generator.uniform(-o.hue, o.hue));
  }
  return out;
}

}  // namespace tessera::data

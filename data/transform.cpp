#include "data/transform.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tessera::data {
namespace {

size_t index(int64_t i) { return static_cast<size_t>(i); }

void check_image(const Image& image, const char* op) {
  TESSERA_CHECK(ValueError,
                image.height > 0 && image.width > 0 && image.channels > 0 &&
                    image.pixels.size() == index(image.height * image.width * image.channels),
                op, ": expected a non-empty image, got ", image.height, " x ", image.width, " x ",
                image.channels, " with ", image.pixels.size(), " bytes");
}

/// The source position of padded position `i` in [-before, size + after).
int64_t source_position(int64_t i, int64_t size, PadMode mode) {
  if (mode == PadMode::kEdge) return std::clamp<int64_t>(i, 0, size - 1);
  if (i < 0) return -i;
  return i < size ? i : 2 * (size - 1) - i;
}

/// Python's round: to the nearest integer, ties to even (the default rounding mode).
int64_t round_even(double x) { return static_cast<int64_t>(std::nearbyint(x)); }

}  // namespace

Image crop(const Image& image, const Box& box) {
  check_image(image, "crop");
  TESSERA_CHECK(ValueError,
                box.top >= 0 && box.left >= 0 && box.height > 0 && box.width > 0 &&
                    box.height <= image.height - box.top && box.width <= image.width - box.left,
                "crop: box (top ", box.top, ", left ", box.left, ", ", box.height, " x ", box.width,
                ") does not lie in the image of ", image.height, " x ", image.width);
  Image out(box.height, box.width, image.channels);
  for (int64_t y = 0; y < box.height; ++y)
    std::copy_n(image.at(box.top + y, box.left), box.width * image.channels, out.at(y, 0));
  return out;
}

Image center_crop(const Image& image, int64_t height, int64_t width) {
  check_image(image, "center_crop");
  TESSERA_CHECK(ValueError, height > 0 && width > 0, "center_crop: size ", height, " x ", width,
                " must be positive");
  if (image.height < height || image.width < width) {
    const int64_t dy = std::max<int64_t>(height - image.height, 0);
    const int64_t dx = std::max<int64_t>(width - image.width, 0);
    return center_crop(pad(image, {dy / 2, dy - dy / 2, dx / 2, dx - dx / 2}), height, width);
  }
  const int64_t top = round_even(static_cast<double>(image.height - height) / 2);
  const int64_t left = round_even(static_cast<double>(image.width - width) / 2);
  return crop(image, {top, left, height, width});
}

Image pad(const Image& image, const Padding& p, PadMode mode, uint8_t fill) {
  check_image(image, "pad");
  TESSERA_CHECK(ValueError, p.top >= 0 && p.bottom >= 0 && p.left >= 0 && p.right >= 0,
                "pad: negative padding (", p.top, ", ", p.bottom, ", ", p.left, ", ", p.right, ")");
  TESSERA_CHECK(ValueError,
                mode != PadMode::kReflect || (std::max(p.top, p.bottom) < image.height &&
                                              std::max(p.left, p.right) < image.width),
                "pad: reflection by (", p.top, ", ", p.bottom, ", ", p.left, ", ", p.right,
                ") needs an image larger than the padding, got ", image.height, " x ", image.width);
  const int64_t c = image.channels;
  Image out(image.height + p.top + p.bottom, image.width + p.left + p.right, c, fill);
  for (int64_t y = 0; y < out.height; ++y) {
    const int64_t sy = y - p.top;
    const bool inside = sy >= 0 && sy < image.height;
    if (mode == PadMode::kConstant && !inside) continue;
    const uint8_t* row = image.at(source_position(sy, image.height, mode), 0);
    std::copy_n(row, image.width * c, out.at(y, p.left));
    if (mode == PadMode::kConstant) continue;
    for (int64_t x = 0; x < p.left; ++x)
      std::copy_n(row + source_position(x - p.left, image.width, mode) * c, c, out.at(y, x));
    for (int64_t x = image.width; x < image.width + p.right; ++x)
      std::copy_n(row + source_position(x, image.width, mode) * c, c, out.at(y, p.left + x));
  }
  return out;
}

Image flip_horizontal(const Image& image) {
  check_image(image, "flip_horizontal");
  Image out(image.height, image.width, image.channels);
  for (int64_t y = 0; y < image.height; ++y)
    for (int64_t x = 0; x < image.width; ++x)
      std::copy_n(image.at(y, image.width - 1 - x), image.channels, out.at(y, x));
  return out;
}

Image resize_short_side(const Image& image, int64_t size, Filter filter) {
  check_image(image, "resize_short_side");
  TESSERA_CHECK(ValueError, size > 0, "resize_short_side: size must be positive, got ", size);
  const int64_t h = image.height, w = image.width;
  // A line of pixels would become as many squares: a small file, gigabytes of memory.
  const double ratio = static_cast<double>(std::max(h, w)) / static_cast<double>(std::min(h, w));
  const double side = static_cast<double>(size);
  TESSERA_CHECK(ValueError, side * side * ratio <= static_cast<double>(kMaxPixels),
                "resize_short_side: ", h, " x ", w, " with a short side of ", size,
                " would have more than ", kMaxPixels, " pixels");
  // Integer division is the truncation of size * long / short.
  if (h <= w) return resize(image, size, size * w / h, filter);
  return resize(image, size * h / w, size, filter);
}

FloatImage normalize(const Image& image, const Normalization& normalization) {
  FloatImage out{image.height, image.width, image.channels,
                 std::vector<float>(image.pixels.size())};
  normalize(image, normalization, out.pixels.data());
  return out;
}

void normalize(const Image& image, const Normalization& n, float* out) {
  check_image(image, "normalize");
  TESSERA_CHECK(ValueError, image.channels == 1 || image.channels == 3,
                "normalize: expected 1 or 3 channels, got ", image.channels);
  std::array<std::array<float, 256>, 3> table;
  const size_t channels = index(image.channels);
  for (size_t c = 0; c < channels; ++c) {
    TESSERA_CHECK(ValueError, n.std[c] > 0, "normalize: std of channel ", c,
                  " must be positive, got ", n.std[c]);
    for (size_t v = 0; v < 256; ++v)
      table[c][v] = (static_cast<float>(v) / 255.0f - n.mean[c]) / n.std[c];
  }
  const uint8_t* in = image.pixels.data();
  const size_t count = image.pixels.size();
  if (channels == 1) {
    for (size_t i = 0; i < count; ++i) out[i] = table[0][in[i]];
    return;
  }
  for (size_t i = 0; i < count; i += 3) {
    out[i] = table[0][in[i]];
    out[i + 1] = table[1][in[i + 1]];
    out[i + 2] = table[2][in[i + 2]];
  }
}

Box random_resized_box(int64_t height, int64_t width, const RandomResizedCropOptions& o,
                       Generator& generator) {
  TESSERA_CHECK(ValueError, height > 0 && width > 0, "random_resized_box: empty image ", height,
                " x ", width);
  TESSERA_CHECK(
      ValueError,
      0 < o.min_area && o.min_area <= o.max_area && 0 < o.min_ratio && o.min_ratio <= o.max_ratio,
      "random_resized_box: bad ranges, area [", o.min_area, ", ", o.max_area, "], ratio [",
      o.min_ratio, ", ", o.max_ratio, "]");
  const double area = static_cast<double>(height) * static_cast<double>(width);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double target = area * generator.uniform(o.min_area, o.max_area);
    const double ratio = std::exp(generator.uniform(std::log(o.min_ratio), std::log(o.max_ratio)));
    const int64_t w = round_even(std::sqrt(target * ratio));
    const int64_t h = round_even(std::sqrt(target / ratio));
    if (w > 0 && w <= width && h > 0 && h <= height) {
      const int64_t top = generator.randint(height - h + 1);
      return {top, generator.randint(width - w + 1), h, w};
    }
  }
  const double ratio = static_cast<double>(width) / static_cast<double>(height);
  int64_t h = height, w = width;
  if (ratio < o.min_ratio) h = round_even(static_cast<double>(width) / o.min_ratio);
  if (ratio > o.max_ratio) w = round_even(static_cast<double>(height) * o.max_ratio);
  h = std::clamp<int64_t>(h, 1, height);
  w = std::clamp<int64_t>(w, 1, width);
  return {(height - h) / 2, (width - w) / 2, h, w};
}

Box random_erasing_box(int64_t height, int64_t width, const RandomErasingOptions& o,
                       Generator& generator, int* tries) {
  TESSERA_CHECK(ValueError,
                o.probability >= 0 && o.probability <= 1 && 0 < o.min_area &&
                    o.min_area <= o.max_area && o.max_area <= 1 && 0 < o.min_ratio &&
                    o.min_ratio <= 1,
                "random_erasing: bad options, probability ", o.probability, ", area [", o.min_area,
                ", ", o.max_area, "], min_ratio ", o.min_ratio);
  if (tries) *tries = 0;
  if (!generator.bernoulli(o.probability)) return {};
  const double area = static_cast<double>(height) * static_cast<double>(width);
  for (int attempt = 0; attempt < o.max_tries; ++attempt) {
    if (tries) ++*tries;
    const double target = area * generator.uniform(o.min_area, o.max_area);
    const double ratio =
        o.log_ratio ? std::exp(generator.uniform(std::log(o.min_ratio), -std::log(o.min_ratio)))
                    : generator.uniform(o.min_ratio, 1 / o.min_ratio);
    const int64_t h = round_even(std::sqrt(target * ratio));
    const int64_t w = round_even(std::sqrt(target / ratio));
    if (h > 0 && w > 0 && h < height && w < width) {
      const int64_t top = generator.randint(height - h + 1);
      return {top, generator.randint(width - w + 1), h, w};
    }
  }
  return {};
}

void random_erasing(FloatImage& image, const RandomErasingOptions& options, Generator& generator) {
  const Box box = random_erasing_box(image.height, image.width, options, generator);
  for (int64_t y = box.top; y < box.top + box.height; ++y) {
    float* row = image.pixels.data() + (y * image.width + box.left) * image.channels;
    const int64_t count = box.width * image.channels;
    if (options.noise)
      std::generate_n(row, count, [&] { return static_cast<float>(generator.normal()); });
    else
      std::fill_n(row, count, options.value);
  }
}

}  // namespace tessera::data

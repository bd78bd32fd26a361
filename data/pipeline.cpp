#include <algorithm>
#include <utility>

#include "data/transform.h"

namespace tessera::data {
namespace {

/// Erasing draws from streams of its own, away from those of the 8-bit steps.
constexpr uint64_t kErasingStream = uint64_t{1} << 32;

void check_target(int64_t height, int64_t width, const char* op) {
  TESSERA_CHECK(ValueError, height > 0 && width > 0, op, ": size ", height, " x ", width,
                " must be positive");
}

}  // namespace

Transform resize_to(int64_t height, int64_t width, Filter filter) {
  check_target(height, width, "resize_to");
  return {cat("resize_to(", height, ", ", width, ")"), false,
          [=](Image image, Generator&) { return resize(image, height, width, filter); }};
}

Transform resize_short_side_to(int64_t size, Filter filter) {
  check_target(size, size, "resize_short_side_to");
  return {cat("resize_short_side_to(", size, ")"), false,
          [=](Image image, Generator&) { return resize_short_side(image, size, filter); }};
}

Transform center_crop_to(int64_t height, int64_t width) {
  check_target(height, width, "center_crop_to");
  return {cat("center_crop_to(", height, ", ", width, ")"), false,
          [=](Image image, Generator&) { return center_crop(image, height, width); }};
}

Transform random_crop_to(int64_t height, int64_t width, int64_t padding, PadMode mode,
                         uint8_t fill) {
  check_target(height, width, "random_crop_to");
  TESSERA_CHECK(ValueError, padding >= 0, "random_crop_to: padding must be >= 0, got ", padding);
  return {cat("random_crop_to(", height, ", ", width, ", padding ", padding, ")"), true,
          [=](Image image, Generator& generator) {
            const Image padded = padding > 0
                                     ? pad(image, {padding, padding, padding, padding}, mode, fill)
                                     : std::move(image);
            TESSERA_CHECK(ValueError, padded.height >= height && padded.width >= width,
                          "random_crop_to: the padded image of ", padded.height, " x ",
                          padded.width, " is smaller than the crop of ", height, " x ", width);
            const int64_t top = generator.randint(padded.height - height + 1);
            const int64_t left = generator.randint(padded.width - width + 1);
            return crop(padded, {top, left, height, width});
          }};
}

Transform random_resized_crop_to(int64_t height, int64_t width,
                                 const RandomResizedCropOptions& options, Filter filter) {
  check_target(height, width, "random_resized_crop_to");
  return {cat("random_resized_crop_to(", height, ", ", width, ")"), true,
          [=](Image image, Generator& generator) {
            const Box box = random_resized_box(image.height, image.width, options, generator);
            return resize(crop(image, box), height, width, filter);
          }};
}

Transform random_flip(double probability) {
  TESSERA_CHECK(ValueError, probability >= 0 && probability <= 1,
                "random_flip: probability must be in [0, 1], got ", probability);
  return {cat("random_flip(", probability, ")"), true, [=](Image image, Generator& generator) {
            if (generator.bernoulli(probability)) return flip_horizontal(image);
            return image;
          }};
}

Transform jitter_color(const ColorJitterOptions& options) {
  return {cat("jitter_color(", options.brightness, ", ", options.contrast, ", ", options.saturation,
              ", ", options.hue, ")"),
          true, [=](Image image, Generator& generator) {
            return color_jitter(image, options, generator);
          }};
}

size_t Pipeline::fixed_prefix() const {
  const auto first = std::find_if(transforms.begin(), transforms.end(),
                                  [](const Transform& t) { return t.random; });
  return static_cast<size_t>(first - transforms.begin());
}

Image Pipeline::run(Image image, const Generator& generator, size_t first, size_t last) const {
  for (size_t i = first; i < last; ++i) {
    Generator own = generator.fork(i);
    image = transforms[i].apply(std::move(image), own);
  }
  return image;
}

FloatImage Pipeline::finish(const Image& image, const Generator& generator) const {
  FloatImage out = normalize(image, normalization);
  for (size_t i = 0; i < erasing.size(); ++i) {
    Generator own = generator.fork(kErasingStream + i);
    random_erasing(out, erasing[i], own);
  }
  return out;
}

FloatImage Pipeline::operator()(Image image, const Generator& generator) const {
  return finish(run(std::move(image), generator, 0, transforms.size()), generator);
}

}  // namespace tessera::data

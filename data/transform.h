#pragma once

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "data/image.h"
#include "data/resize.h"
#include "tensor/generator.h"

namespace tessera::data {

// Image functions. All take and return 8-bit HWC images of any channel count unless they say RGB;
// all throw ValueError for arguments outside the stated range, naming sizes.

/// A rectangle in pixels.
struct Box {
  int64_t top = 0, left = 0, height = 0, width = 0;
  bool operator==(const Box&) const = default;
};

enum class PadMode {
  kConstant,  ///< every byte `fill`
  kEdge,      ///< repeats the border pixel
  kReflect,   ///< mirrors about the border pixel, which is not repeated; padding < side
};

struct Padding {
  int64_t top = 0, bottom = 0, left = 0, right = 0;
};

/// The part of `image` inside `box`, which must lie within the image.
Image crop(const Image& image, const Box& box);

/// The central height x width part: top = round((H - height) / 2), ties to even, as torchvision.
/// Smaller images are first padded with zeros, the odd pixel at the bottom and right.
Image center_crop(const Image& image, int64_t height, int64_t width);

/// Adds `padding` (>= 0) on each side.
Image pad(const Image& image, const Padding& padding, PadMode mode = PadMode::kConstant,
          uint8_t fill = 0);

/// Mirrors left and right.
Image flip_horizontal(const Image& image);

/// Scales so that the short side becomes `size` and the long one int(size * long / short).
/// ValueError if that makes more than kMaxPixels pixels.
Image resize_short_side(const Image& image, int64_t size, Filter filter = Filter::kBilinear);

/// Luma as Pillow's convert("L"): (19595 R + 38470 G + 7471 B + 32768) >> 16. RGB in, 1 channel
/// out.
Image to_grey(const Image& image);

// Colour changes of RGB images, bit for bit as Pillow's ImageEnhance: out = d + factor * (x - d) in
// float32, truncated and clamped. factor >= 0; 1 leaves the image as it is.

/// d = 0.
Image adjust_brightness(const Image& image, float factor);
/// d = the rounded mean of the luma.
Image adjust_contrast(const Image& image, float factor);
/// d = the luma of the pixel.
Image adjust_saturation(const Image& image, float factor);
/// Turns the hue by `shift` of a full circle, -0.5 to 0.5, through Pillow's 8-bit HSV, as
/// torchvision.
Image adjust_hue(const Image& image, double shift);

/// A float image in host memory, HWC without padding.
struct FloatImage {
  int64_t height = 0, width = 0, channels = 0;
  std::vector<float> pixels;
};

struct Normalization {
  std::array<float, 3> mean = {0.485f, 0.456f, 0.406f};  // ImageNet, RGB in [0, 1]
  std::array<float, 3> std = {0.229f, 0.224f, 0.225f};
};

/// out = (x / 255 - mean) / std in float32, rounded after each step like torchvision's ToTensor and
/// Normalize. `image` has 1 or 3 channels (1 uses the first mean and std); std must be positive.
FloatImage normalize(const Image& image, const Normalization& normalization = {});
/// The same into a caller's buffer of height * width * channels floats.
void normalize(const Image& image, const Normalization& normalization, float* out);

// Random choices, separate from the pixels so that their statistics can be tested.

struct RandomResizedCropOptions {
  double min_area = 0.08, max_area = 1.0;           // fraction of the image
  double min_ratio = 3.0 / 4, max_ratio = 4.0 / 3;  // width / height, drawn log-uniformly
};

/// torchvision's RandomResizedCrop: up to 10 tries, then the central crop of the nearest allowed
/// ratio.
Box random_resized_box(int64_t height, int64_t width, const RandomResizedCropOptions& options,
                       Generator& generator);

struct ColorJitterOptions {
  /// Each factor is drawn from [max(0, 1 - v), 1 + v], the hue shift from [-hue, hue]; 0 = off.
  double brightness = 0, contrast = 0, saturation = 0, hue = 0;
};

/// Applies the enabled changes in random order.
Image color_jitter(const Image& image, const ColorJitterOptions& options, Generator& generator);

struct RandomErasingOptions {
  double probability = 0.5;
  double min_area = 0.02, max_area = 0.4;  // fraction of the image
  double min_ratio = 0.3;  // height / width is drawn from [min_ratio, 1 / min_ratio]
  bool log_ratio = false;  // log-uniform (torchvision) instead of uniform (re-id)
  int max_tries = 100;
  bool noise = false;  // fill with N(0, 1) per value instead of `value`
  float value = 0;     // in normalised units: 0 is the mean colour
};

/// The erased box, or an empty one (height 0) when none was drawn or none fitted. A box is strictly
/// smaller than the image in both directions. `tries`, if given, receives the number of draws.
/// Source: Zhong et al., "Random erasing data augmentation", arXiv 1708.04896, algorithm 1.
Box random_erasing_box(int64_t height, int64_t width, const RandomErasingOptions& options,
                       Generator& generator, int* tries = nullptr);

/// Draws a box and fills it.
void random_erasing(FloatImage& image, const RandomErasingOptions& options, Generator& generator);

// The composable form.

/// A step on 8-bit images. A step that draws random numbers says so: the steps before the first
/// random one give the same image every time, and a dataset may cache their result.
struct Transform {
  std::string name;  // with its parameters, for messages and reports
  bool random = false;
  std::function<Image(Image, Generator&)> apply;
};

Transform resize_to(int64_t height, int64_t width, Filter filter = Filter::kBilinear);
Transform resize_short_side_to(int64_t size, Filter filter = Filter::kBilinear);
Transform center_crop_to(int64_t height, int64_t width);
/// Pads every side by `padding`, then cuts height x width at a uniform offset.
Transform random_crop_to(int64_t height, int64_t width, int64_t padding = 0,
                         PadMode mode = PadMode::kConstant, uint8_t fill = 0);
Transform random_resized_crop_to(int64_t height, int64_t width,
                                 const RandomResizedCropOptions& options = {},
                                 Filter filter = Filter::kBilinear);
Transform random_flip(double probability = 0.5);
Transform jitter_color(const ColorJitterOptions& options);

/// 8-bit steps, then normalisation, then erasing: an image to a network's input. Step i draws from
/// `generator.fork(i)`, so that the numbers of one step do not depend on the other steps, and the
/// result depends on (image, generator) alone. Immutable while in use; safe to share by threads.
struct Pipeline {
  std::vector<Transform> transforms;
  Normalization normalization;
  std::vector<RandomErasingOptions> erasing;  // any number, usually none or one

  /// Steps before the first random one.
  size_t fixed_prefix() const;
  /// Runs transforms [first, last) on `image`.
  Image run(Image image, const Generator& generator, size_t first, size_t last) const;
  /// Normalises and erases.
  FloatImage finish(const Image& image, const Generator& generator) const;
  /// Everything.
  FloatImage operator()(Image image, const Generator& generator) const;
};

}  // namespace tessera::data

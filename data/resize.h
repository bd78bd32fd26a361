#pragma once

#include <cstdint>
#include <string>

#include "data/image.h"

namespace tessera::data {

/// Resampling filters; the number is the support radius in pixels when enlarging.
enum class Filter {
  kNearest,
  kBox,       ///< 0.5: area average when shrinking, nearest when enlarging
  kBilinear,  ///< 1: triangle
  kBicubic,   ///< 2: Keys kernel, a = -0.5 (OpenCV and PyTorch without antialias use -0.75)
  kLanczos,   ///< 3: sinc windowed by sinc(x / 3)
};

/// "nearest", "box", "bilinear", "bicubic", "lanczos". Throws ValueError for other names.
Filter filter_by_name(const std::string& name);

/// Resizes an 8-bit image to (height, width), bit for bit as Pillow's Image.resize.
///   image    (H, W, C) uint8, C = 1, 3 or 4; channels are independent (Pillow's RGBA mode weighs
///            colour by alpha, its CMYK and RGBX modes do not)
///   returns  (height, width, C) uint8
/// Antialiased: when shrinking, the filter is widened by the scale. Separable, horizontal pass
/// first, intermediate rounded to 8 bits, weights in 22-bit fixed point; a pass whose size does not
/// change is skipped. Pixel centres are at half-integers. Recent Pillow (13.0, not 9.4) runs the
/// vertical pass first when the height shrinks while the width grows; there the results differ by
/// rounding. Throws ValueError for an empty image, sizes below 1 or an image buffer that does not
/// match. Cost: about C * (H * width * support_x + height * width * support_y) multiply-adds.
Image resize(const Image& image, int64_t height, int64_t width, Filter filter);

}  // namespace tessera::data

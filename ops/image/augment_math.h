#pragma once

#include <cmath>
#include <cstdint>

#include "tensor/macros.h"

namespace tessera::math {

/// Sizes of augment_images: images (N, height, width, channels) to (N, out_height, out_width,
/// channels).
struct AugmentSizes {
  int64_t height, width, out_height, out_width, channels;
};

/// Element (i, j, c) of the result of one image; `place` is its row of the placement.
TESSERA_HD inline float augmented(const AugmentSizes& s, const uint8_t* image, const int32_t* place,
                                  const float* constants, int64_t i, int64_t j, int64_t c) {
  const int64_t from_top = i - place[3], from_left = j - place[4];
  if (from_top >= 0 && from_top < place[5] && from_left >= 0 && from_left < place[6])
    return constants[2 * s.channels + c];
  const int64_t h = place[0] + i;
  const int64_t w = place[1] + (place[2] != 0 ? s.out_width - 1 - j : j);
  const bool inside = h >= 0 && h < s.height && w >= 0 && w < s.width;
  const float x = inside ? static_cast<float>(image[(h * s.width + w) * s.channels + c]) : 0.0f;
  // The same bits everywhere, whether or not a compiler would have joined the two.
  return std::fma(x, constants[c], constants[s.channels + c]);
}

}  // namespace tessera::math

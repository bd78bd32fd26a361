#pragma once

#include <cstdint>
#include <vector>

#include "tensor/error.h"

namespace tessera::data {

/// Most pixels that an image read from a file has unless more are asked for: where Pillow gives up
/// with a DecompressionBombError. As RGB, 512 MiB.
inline constexpr int64_t kMaxPixels = 178'956'970;

/// An 8-bit image in host memory: `height` rows of `width` pixels of `channels` interleaved bytes
/// (HWC, no row padding). channels is 1 (grey), 3 (RGB) or 4 (RGBA).
struct Image {
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 3;
  std::vector<uint8_t> pixels;

  Image() = default;
  /// A `height` x `width` image with every byte set to `fill`.
  Image(int64_t height, int64_t width, int64_t channels = 3, uint8_t fill = 0)
      : height(height),
        width(width),
        channels(channels),
        pixels(static_cast<size_t>(height * width * channels), fill) {}

  bool empty() const { return pixels.empty(); }
  /// Pointer to the first byte of pixel (y, x); no bounds check.
  uint8_t* at(int64_t y, int64_t x) {
    return pixels.data() + static_cast<size_t>((y * width + x) * channels);
  }
  const uint8_t* at(int64_t y, int64_t x) const {
    return pixels.data() + static_cast<size_t>((y * width + x) * channels);
  }
  bool operator==(const Image&) const = default;
};

}  // namespace tessera::data

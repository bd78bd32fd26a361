#include <algorithm>
#include <cmath>

#include "data/draw.h"

namespace tessera::data {
namespace {

/// Weights of one output position along an axis: sum over source positions first .. first + n - 1.
struct Taps {
  int64_t first = 0;
  std::vector<float> weights;
};

/// Box filter over the covered interval when shrinking, linear interpolation when enlarging.
std::vector<Taps> make_taps(int64_t in, int64_t out) {
  std::vector<Taps> taps(static_cast<size_t>(out));
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  for (int64_t i = 0; i < out; ++i) {
    Taps& tap = taps[static_cast<size_t>(i)];
    if (scale > 1) {
      const double begin = static_cast<double>(i) * scale, end = begin + scale;
      tap.first = static_cast<int64_t>(begin);
      for (int64_t s = tap.first; s < in && static_cast<double>(s) < end - 1e-9; ++s) {
        const double low = std::max(begin, static_cast<double>(s));
        const double high = std::min(end, static_cast<double>(s + 1));
        tap.weights.push_back(static_cast<float>((high - low) / scale));
      }
    } else {
      const double center = std::clamp((static_cast<double>(i) + 0.5) * scale - 0.5, 0.0,
                                       static_cast<double>(in - 1));
      tap.first = static_cast<int64_t>(center);
      const auto t = static_cast<float>(center - static_cast<double>(tap.first));
      tap.weights.push_back(1 - t);
      if (tap.first + 1 < in) tap.weights.push_back(t);
    }
  }
  return taps;
}

}  // namespace

Image rescale(const Image& image, int64_t height, int64_t width) {
  TESSERA_CHECK(ValueError, !image.empty() && height > 0 && width > 0, "rescale: cannot scale ",
                image.height, " x ", image.width, " to ", height, " x ", width);
  if (image.height == height && image.width == width) return image;
  const int64_t channels = image.channels;
  const auto columns = make_taps(image.width, width), rows = make_taps(image.height, height);
  std::vector<float> middle(static_cast<size_t>(image.height * width * channels), 0.0f);
  for (int64_t y = 0; y < image.height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const Taps& tap = columns[static_cast<size_t>(x)];
      float* out = middle.data() + (y * width + x) * channels;
      const uint8_t* in = image.at(y, tap.first);
      for (const float weight : tap.weights) {
        for (int64_t c = 0; c < channels; ++c) out[c] += weight * static_cast<float>(in[c]);
        in += channels;
      }
    }
  }
  Image result(height, width, channels);
  std::vector<float> sums(static_cast<size_t>(width * channels));
  for (int64_t y = 0; y < height; ++y) {
    const Taps& tap = rows[static_cast<size_t>(y)];
    std::fill(sums.begin(), sums.end(), 0.5f);
    for (size_t k = 0; k < tap.weights.size(); ++k) {
      const float* in = middle.data() + (tap.first + static_cast<int64_t>(k)) * width * channels;
      for (size_t i = 0; i < sums.size(); ++i) sums[i] += tap.weights[k] * in[i];
    }
    uint8_t* out = result.at(y, 0);
    for (size_t i = 0; i < sums.size(); ++i) {
      out[i] = static_cast<uint8_t>(std::clamp(sums[i], 0.0f, 255.0f));
    }
  }
  return result;
}

}  // namespace tessera::data

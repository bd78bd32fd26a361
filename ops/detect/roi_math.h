#pragma once

#include <cmath>
#include <cstdint>

#include "ops/detect/roi_align.h"
#include "tensor/macros.h"

namespace tessera::math {

/// One axis of a region of interest in feature pixels: bins of one length, each with samples at
/// equal distances.
template <class T>
struct RoiAxis {
  T start = 0, bin = 0;
  int64_t samples = 0;  // per bin

  RoiAxis() = default;
  /// low, high: the roi's sides in image pixels.
  TESSERA_HD RoiAxis(T low, T high, int64_t bins, const RoiAlignOptions& o) {
    const T scale = static_cast<T>(o.spatial_scale), offset = o.aligned ? T(0.5) : T(0);
    start = low * scale - offset;
    T side = high * scale - offset - start;
    if (!o.aligned && side < 1) side = 1;
    bin = side / static_cast<T>(bins);
    samples = o.sampling_ratio > 0 ? o.sampling_ratio : static_cast<int64_t>(std::ceil(bin));
    if (samples < 0) samples = 0;
  }

  TESSERA_HD T position(int64_t b, int64_t s) const {
    return start + static_cast<T>(b) * bin +
           (static_cast<T>(s) + T(0.5)) * bin / static_cast<T>(samples);
  }
  /// What a sample counts in its bin's average along this axis.
  TESSERA_HD T share() const { return T(1) / static_cast<T>(samples > 0 ? samples : 1); }

  struct Range {
    int64_t begin, end;
  };
  /// Samples of bin b among which all with a position in [low, high] are.
  TESSERA_HD Range samples_within(int64_t b, T low, T high) const {
    const T step = bin / static_cast<T>(samples > 0 ? samples : 1);
    if (step == 0) return {0, samples};
    const T origin = start + static_cast<T>(b) * bin;
    const T near = (low - origin) / step, far = (high - origin) / step;
    // What rounding can move a position by, in samples, and one more at either end.
    const T error = (sizeof(T) == 4 ? T(2e-6) : T(4e-15)) * (std::abs(origin) + std::abs(bin));
    const T slack = 2 + error / std::abs(step);
    const T first = (near < far ? near : far) - slack, last = (near < far ? far : near) + slack;
    const T count = static_cast<T>(samples);
    Range r{0, samples};
    if (first > 0) r.begin = first < count ? static_cast<int64_t>(first) : samples;
    if (last < count) r.end = last > 0 ? static_cast<int64_t>(last) + 1 : 0;
    if (r.end > samples) r.end = samples;
    return r;
  }
};

/// Linear interpolation between pixels `low`, which counts 1 - t, and low + 1, which counts t and
/// exists where t > 0. Positions more than one pixel outside the map have no part in it.
template <class T>
struct RoiTap {
  bool inside;
  int64_t low;
  T t;

  TESSERA_HD RoiTap(T at, int64_t size) : inside(!(at < T(-1) || at > static_cast<T>(size))) {
    if (!(at > 0) || !inside) at = 0;
    low = static_cast<int64_t>(at);
    if (low > size - 1) low = size - 1;
    t = low >= size - 1 ? T(0) : at - static_cast<T>(low);
  }
};

/// RoI Align refuses coordinates beyond so many feature pixels.
inline constexpr double kRoiLimit = 1e7;

/// Pixels [first, last).
struct RoiSpan {
  int64_t first, last;
};

/// Pixels of bin b when RoI pooling cuts a side from `low` to `high` (image pixels) into `bins`.
template <class T>
TESSERA_HD RoiSpan roi_pool_span(T low, T high, T scale, int64_t b, int64_t bins, int64_t size) {
  const auto start = static_cast<int64_t>(std::round(low * scale));
  const auto end = static_cast<int64_t>(std::round(high * scale));
  const T bin = static_cast<T>(end >= start ? end - start + 1 : 1) / static_cast<T>(bins);
  const auto first = static_cast<int64_t>(std::floor(static_cast<T>(b) * bin)) + start;
  const auto last = static_cast<int64_t>(std::ceil(static_cast<T>(b + 1) * bin)) + start;
  const auto inside = [size](int64_t v) { return v < 0 ? 0 : v > size ? size : v; };
  return {inside(first), inside(last)};
}

}  // namespace tessera::math

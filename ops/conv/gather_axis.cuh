#pragma once

#include <numeric>

#include "cuda/index.h"
#include "ops/conv/conv_shape.h"

/// Convolutions as gathers, for the GPU: where the result of a forward pass or of an input gradient
/// reads, along one axis of the image.
namespace tessera::conv {

/// Coordinate i of the result lies at first + i * step and reads, for tap t, coordinate
/// i * stride + base + t * reach of the input, where that is in [0, size), through row
/// first_tap + t * tap_step of the filter.
struct GatherAxis {
  int size;
  int count, first, step;
  int taps, first_tap, tap_step;
  int stride, base, reach;
};

/// One axis of a convolution: `in` coordinates of the image, `out` of the convolved one.
struct ConvAxis {
  int in = 0, out = 0, k = 1, stride = 1, padding = 0, dilation = 1;
  int tap_step = 1, reach = 1;  // stride and dilation without their common divisor

  ConvAxis() = default;
  ConvAxis(int64_t in_size, int64_t out_size, int64_t filter, int64_t s, int64_t p, int64_t d)
      : in(checked(in_size)),
        out(checked(out_size)),
        k(checked(filter)),
        stride(checked(s)),
        padding(checked(p)),
        dilation(checked(d)) {
    checked(in_size + 2 * p + d);  // bounds every coordinate below
    checked(out_size * s);
    const int64_t common = std::gcd(s, d);
    tap_step = static_cast<int>(s / common);
    reach = static_cast<int>(d / common);
  }

  GatherAxis forward() const { return {in, out, 0, 1, k, 0, 1, stride, -padding, dilation}; }
  /// The input gradient writes every stride-th coordinate through the same taps, so that no tap
  /// falls between two outputs.
  TESSERA_HD int phases() const { return stride < in ? stride : in; }
  /// Coordinates phase, phase + stride, ... of the image, 0 <= phase < phases().
  TESSERA_HD GatherAxis transposed(int phase) const {
    int first_tap = 0;
    const int tries = tap_step < k ? tap_step : k;
    while (first_tap < tries && (phase + padding - first_tap * dilation) % stride != 0) ++first_tap;
    const int taps = first_tap < tries ? (k - 1 - first_tap) / tap_step + 1 : 0;
    return {out,
            (in - phase - 1) / stride + 1,
            phase,
            stride,
            taps,
            first_tap,
            tap_step,
            1,
            taps > 0 ? (phase + padding - first_tap * dilation) / stride : 0,
            -reach};
  }

 private:
  static int checked(int64_t size) {
    TESSERA_CHECK(ValueError, size < INT32_MAX / 2,
                  "convolution: sizes of 2^30 and more are not supported on CUDA");
    return static_cast<int>(size);
  }
};

inline ConvAxis height_axis(const ConvShape& s) { return {s.h, s.ho, s.kh, s.sh, s.ph, s.dh}; }
inline ConvAxis width_axis(const ConvShape& s) { return {s.w, s.wo, s.kw, s.sw, s.pw, s.dw}; }

}  // namespace tessera::conv

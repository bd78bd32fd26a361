#include "data/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <string>

namespace tessera::data {
namespace {

constexpr int kWeightBits = 22;
constexpr int32_t kHalf = int32_t{1} << (kWeightBits - 1);
/// Rows (horizontal pass) or bytes (vertical pass) summed together: one AVX-512 register of int32
/// and a whole number of narrower ones.
constexpr int kRows = 16;
constexpr int kBytes = 64;

double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double support_of(Filter filter) {
  switch (filter) {
    case Filter::kBox:
      return 0.5;
    case Filter::kBilinear:
      return 1.0;
    case Filter::kBicubic:
      return 2.0;
    default:
      return 3.0;
  }
}

double filter_value(Filter filter, double x) {
  if (filter == Filter::kBox) return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
  if (filter == Filter::kLanczos) return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
  x = std::abs(x);
  if (filter == Filter::kBilinear) return x < 1.0 ? 1.0 - x : 0.0;
  constexpr double a = -0.5;
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

/// For each output position: the first input position, and `taps` weights of which the used ones
/// come first and the rest are zero.
struct Weights {
  int64_t taps = 0;
  std::vector<int64_t> first, count;
  std::vector<int32_t> k;
};

Weights make_weights(int64_t in, int64_t out, Filter filter) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double widen = std::max(scale, 1.0);
  const double support = support_of(filter) * widen;
  Weights w;
  w.taps = std::min(static_cast<int64_t>(std::ceil(support)) * 2 + 1, in);
  w.first.resize(static_cast<size_t>(out));
  w.count.resize(static_cast<size_t>(out));
  w.k.assign(static_cast<size_t>(out * w.taps), 0);
  std::vector<double> exact(static_cast<size_t>(w.taps));
  for (int64_t i = 0; i < out; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    // Truncated toward zero before clipping, as the reference does.
    const int64_t lo = std::max<int64_t>(static_cast<int64_t>(centre - support + 0.5), 0);
    const int64_t hi = std::min<int64_t>(static_cast<int64_t>(centre + support + 0.5), in);
    double sum = 0;
    for (int64_t j = lo; j < hi; ++j) {
      const double x = (static_cast<double>(j) - centre + 0.5) * (1.0 / widen);
      sum += exact[static_cast<size_t>(j - lo)] = filter_value(filter, x);
    }
    int32_t* k = &w.k[static_cast<size_t>(i * w.taps)];
    for (int64_t j = 0; j < hi - lo; ++j) {
      const double weight = exact[static_cast<size_t>(j)];
      const double fixed = (sum != 0 ? weight / sum : weight) * (1 << kWeightBits);
      k[j] = static_cast<int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    }
    w.first[static_cast<size_t>(i)] = lo;
    w.count[static_cast<size_t>(i)] = hi - lo;
  }
  return w;
}

/// The shared inner loop: out[j] = round(sum over t of k[t] * in[t * stride + j]) for j < N. It is
/// compiled once per instruction set below, so that one binary runs everywhere and uses what is
/// there.
template <int N>
[[gnu::always_inline]] inline void weighted_sum(const uint8_t* in, int64_t stride, const int32_t* k,
                                                int64_t taps, uint8_t* out) {
  int32_t sum[N];
  for (int j = 0; j < N; ++j) sum[j] = kHalf;
  for (int64_t t = 0; t < taps; ++t) {
    const int32_t weight = k[t];
    const uint8_t* p = in + t * stride;
    for (int j = 0; j < N; ++j) sum[j] += weight * p[j];
  }
  for (int j = 0; j < N; ++j)
    out[j] = static_cast<uint8_t>(std::clamp(sum[j] >> kWeightBits, 0, 255));
}

/// One output position of the horizontal pass for kRows rows: planes[(x * channels + c) * kRows +
/// r].
struct Column {
  const uint8_t* planes;
  int64_t channels;
  const int32_t* k;
  int64_t taps;
  uint8_t* out;  // (channels, kRows)
};

[[gnu::always_inline]] inline void sum_column_body(const Column& c) {
  for (int64_t ch = 0; ch < c.channels; ++ch)
    weighted_sum<kRows>(c.planes + ch * kRows, c.channels * kRows, c.k, c.taps, c.out + ch * kRows);
}

/// One output row of the vertical pass.
struct Row {
  const uint8_t* in;
  int64_t bytes;  // per row
  const int32_t* k;
  int64_t taps;
  uint8_t* out;
};

[[gnu::always_inline]] inline void sum_row_body(const Row& r) {
  int64_t j = 0;
  for (; j + kBytes <= r.bytes; j += kBytes)
    weighted_sum<kBytes>(r.in + j, r.bytes, r.k, r.taps, r.out + j);
  for (; j + 8 <= r.bytes; j += 8) weighted_sum<8>(r.in + j, r.bytes, r.k, r.taps, r.out + j);
  for (; j < r.bytes; ++j) weighted_sum<1>(r.in + j, r.bytes, r.k, r.taps, r.out + j);
}

void sum_column_plain(const Column& c) { sum_column_body(c); }
void sum_row_plain(const Row& r) { sum_row_body(r); }

struct Kernels {
  void (*column)(const Column&);
  void (*row)(const Row&);
};

#if defined(__x86_64__)
[[gnu::target("avx2")]] void sum_column_avx2(const Column& c) { sum_column_body(c); }
[[gnu::target("avx2")]] void sum_row_avx2(const Row& r) { sum_row_body(r); }
[[gnu::target("avx512f,avx512bw,avx512vl")]] void sum_column_avx512(const Column& c) {
  sum_column_body(c);
}
[[gnu::target("avx512f,avx512bw,avx512vl")]] void sum_row_avx512(const Row& r) { sum_row_body(r); }

Kernels best_kernels() {
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    return {sum_column_avx512, sum_row_avx512};
  if (__builtin_cpu_supports("avx2")) return {sum_column_avx2, sum_row_avx2};
  return {sum_column_plain, sum_row_plain};
}
#else
Kernels best_kernels() { return {sum_column_plain, sum_row_plain}; }
#endif

const Kernels& kernels() {
  static const Kernels chosen = best_kernels();
  return chosen;
}

/// Interleaves `rows` (<= kRows) image rows: planes[i * kRows + r] = row r, byte i. In blocks whose
/// part of `planes` stays in the first-level cache while the rows pass over it.
void interleave(const uint8_t* rows_begin, int64_t bytes, int64_t rows, uint8_t* planes) {
  constexpr int64_t kBlock = 1024;
  for (int64_t first = 0; first < bytes; first += kBlock) {
    const int64_t last = std::min(first + kBlock, bytes);
    for (int64_t r = 0; r < rows; ++r) {
      const uint8_t* row = rows_begin + r * bytes;
      for (int64_t i = first; i < last; ++i) planes[i * kRows + r] = row[i];
    }
  }
}

/// Rows are handled kRows at a time: interleaved, the sum over a row's neighbours becomes the same
/// contiguous loop as in the vertical pass, whatever the number of channels.
Image resize_width(const Image& in, int64_t width, Filter filter) {
  const Weights w = make_weights(in.width, width, filter);
  Image out(in.height, width, in.channels);
  const int64_t in_bytes = in.width * in.channels, out_bytes = width * in.channels;
  std::vector<uint8_t> planes(static_cast<size_t>(in_bytes * kRows));
  uint8_t column[4 * kRows];
  for (int64_t y = 0; y < in.height; y += kRows) {
    const int64_t rows = std::min<int64_t>(kRows, in.height - y);
    interleave(in.at(y, 0), in_bytes, rows, planes.data());
    for (int64_t x = 0; x < width; ++x) {
      const size_t i = static_cast<size_t>(x);
      kernels().column({planes.data() + w.first[i] * in.channels * kRows, in.channels,
                        &w.k[static_cast<size_t>(x * w.taps)], w.count[i], column});
      uint8_t* target = out.at(y, x);
      for (int64_t c = 0; c < in.channels; ++c)
        for (int64_t r = 0; r < rows; ++r) target[r * out_bytes + c] = column[c * kRows + r];
    }
  }
  return out;
}

Image resize_height(const Image& in, int64_t height, Filter filter) {
  const Weights w = make_weights(in.height, height, filter);
  Image out(height, in.width, in.channels);
  for (int64_t y = 0; y < height; ++y) {
    const size_t i = static_cast<size_t>(y);
    kernels().row({in.at(w.first[i], 0), in.width * in.channels,
                   &w.k[static_cast<size_t>(y * w.taps)], w.count[i], out.at(y, 0)});
  }
  return out;
}

/// The position is accumulated, not computed as (i + 0.5) * scale: the two differ where the exact
/// position is an integer, and the reference accumulates.
std::vector<int64_t> nearest_positions(int64_t in, int64_t out) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  std::vector<int64_t> positions(static_cast<size_t>(out));
  double p = scale * 0.5;
  for (int64_t& position : positions) {
    position = std::min(static_cast<int64_t>(p), in - 1);
    p += scale;
  }
  return positions;
}

Image resize_nearest(const Image& in, int64_t height, int64_t width) {
  const std::vector<int64_t> ys = nearest_positions(in.height, height);
  const std::vector<int64_t> xs = nearest_positions(in.width, width);
  Image out(height, width, in.channels);
  const size_t pixel = static_cast<size_t>(in.channels);
  uint8_t* target = out.pixels.data();
  for (const int64_t y : ys) {
    const uint8_t* row = in.at(y, 0);
    for (const int64_t x : xs) {
      std::memcpy(target, row + x * in.channels, pixel);
      target += pixel;
    }
  }
  return out;
}

}  // namespace

Filter filter_by_name(const std::string& name) {
  if (name == "nearest") return Filter::kNearest;
  if (name == "box") return Filter::kBox;
  if (name == "bilinear") return Filter::kBilinear;
  if (name == "bicubic") return Filter::kBicubic;
  if (name == "lanczos") return Filter::kLanczos;
  throw ValueError(cat("resampling filter '", name,
                       "' is unknown (expected nearest, box, bilinear, bicubic or lanczos)"));
}

Image resize(const Image& image, int64_t height, int64_t width, Filter filter) {
  TESSERA_CHECK(ValueError, height > 0 && width > 0, "resize: target size ", height, " x ", width,
                " must be positive");
  TESSERA_CHECK(ValueError,
                image.channels >= 1 && image.channels <= 4 && image.height > 0 && image.width > 0,
                "resize: image of ", image.height, " x ", image.width, " x ", image.channels,
                " (expected a non-empty one with 1 to 4 channels)");
  TESSERA_CHECK(
      ValueError,
      image.pixels.size() == static_cast<size_t>(image.height * image.width * image.channels),
      "resize: image of ", image.height, " x ", image.width, " x ", image.channels, " holds ",
      image.pixels.size(), " bytes");
  if (height == image.height && width == image.width) return image;
  if (filter == Filter::kNearest) return resize_nearest(image, height, width);
  if (width == image.width) return resize_height(image, height, filter);
  if (height == image.height) return resize_width(image, width, filter);
  return resize_height(resize_width(image, width, filter), height, filter);
}

}  // namespace tessera::data

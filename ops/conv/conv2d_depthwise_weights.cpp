// The weight gradient of depthwise convolutions. Filters of usual sizes hold their sums in
// registers while rows of a block of channels stream by; others visit sums in memory.
#include "ops/conv/conv2d_depthwise.h"

#include <algorithm>
#include <vector>

#include "ops/cpu/panel_gemm.h"
#include "ops/cpu/vector.h"

namespace tessera::conv::depthwise {
namespace {

// Sum over a stretch of output columns [begin, end) of g times the input that tap (kh, kw) saw,
// added to acc (C). g and x point at column 0 of their rows.
template <class L, int U, class T>
inline void accumulate_tap(const T* g, const T* x, int64_t begin, int64_t end, int64_t channels,
                           int64_t x_step, T* acc) {
  using V = typename L::Type;
  constexpr int64_t kLanes = L::kLanes;
  V sum[U];
  for (int u = 0; u < U; ++u) sum[u] = L::load(acc + u * kLanes);
  for (int64_t p = begin; p < end; ++p)
    for (int u = 0; u < U; ++u)
      sum[u] += L::load(g + p * channels + u * kLanes) * L::load(x + p * x_step + u * kLanes);
  for (int u = 0; u < U; ++u) L::store(acc + u * kLanes, sum[u]);
}

constexpr int64_t kColumns = 8;  // output columns per visit of the accumulators

// Adds the contribution of output row r (over all images) to channels from `channel` on of acc
// (KH KW, C).
template <class T>
void add_row(const ConvShape& s, const T* g, const T* x, int64_t r, int64_t channel, T* acc) {
  using Lanes = cpu::Vector<T>;
  constexpr int64_t kLanes = Lanes::kLanes;
  const int64_t channels = s.c, n = r / s.ho, ho = r % s.ho;
  const T* g_row = g + r * s.wo * channels;
  // Output columns for which tap kw is inside the image.
  const auto first = [&](int64_t kw) {
    return std::max<int64_t>(0, (s.pw - kw * s.dw + s.sw - 1) / s.sw);
  };
  const auto last = [&](int64_t kw) {
    const int64_t room = s.w - 1 + s.pw - kw * s.dw;
    return room < 0 ? 0 : std::min(s.wo, room / s.sw + 1);
  };
  for (int64_t tile = 0; tile < s.wo; tile += kColumns) {
    const auto over_taps = [&]<class L, int U>(int64_t c) {
      for (int64_t kh = 0; kh < s.kh; ++kh) {
        const int64_t h = ho * s.sh - s.ph + kh * s.dh;
        if (h < 0 || h >= s.h) continue;
        const T* x_row = x + (n * s.h + h) * s.w * channels;
        for (int64_t kw = 0; kw < s.kw; ++kw) {
          const int64_t begin = std::max(tile, first(kw));
          const int64_t end = std::min(tile + kColumns, last(kw));
          if (begin < end)
            accumulate_tap<L, U>(g_row + c, x_row + (kw * s.dw - s.pw) * channels + c, begin, end,
                                 channels, s.sw * channels, acc + (kh * s.kw + kw) * channels + c);
        }
      }
    };
    int64_t c = channel;
    for (; c + 4 * kLanes <= channels; c += 4 * kLanes) over_taps.template operator()<Lanes, 4>(c);
    for (; c + kLanes <= channels; c += kLanes) over_taps.template operator()<Lanes, 1>(c);
    for (; c < channels; ++c) over_taps.template operator()<cpu::Scalar<T>, 1>(c);
  }
}

constexpr int64_t kRingBytes = 20 << 10;      // what a ring may take of the first-level cache
constexpr int64_t kStretchBytes = 192 << 10;  // of rows that all blocks of channels walk in turn

constexpr int64_t kCachedBytes = 16 << 20;  // up to which the operands may lie in the last cache
constexpr int64_t kFewColumns = 10;         // below it, filling the ring costs more than it saves

// What is fetched into the second-level cache meanwhile: the next stretch, in the order of memory.
template <class T>
struct Ahead {
  const T *g, *x;
};

// U vectors of channels of a K x K filter. The input rows of one output row lie in a ring, padded
// with zeros and without the other channels, so that no tap asks where it is.
template <class T, int K, int U, bool kFetch>
class Block {
  using Lanes = cpu::Vector<T>;
  using V = typename Lanes::Type;
  static constexpr int64_t kLanes = Lanes::kLanes, kWidth = U * kLanes;

 public:
  Block(const ConvShape& s, std::vector<T>& ring) : s_(s) {
    const int64_t fit = kRingBytes / (K * kWidth * static_cast<int64_t>(sizeof(T)));
    const int64_t most = std::clamp<int64_t>((fit - K) / s.sw + 1, 1, s.wo);
    const int64_t tiles = (s.wo + most - 1) / most;
    tile_ = (s.wo + tiles - 1) / tiles;
    columns_ = (tile_ - 1) * s.sw + K;
    ring.resize(std::max(ring.size(), static_cast<size_t>(K * columns_ * kWidth)));
    ring_ = ring.data();
  }

  // Output rows [first, last) of an image, all pointers at its first channel of the block.
  void add(const T* g, const T* x, int64_t first, int64_t last, Ahead<T>& ahead, T* sums) {
    V acc[K * K][U];
#pragma GCC unroll 25
    for (int k = 0; k < K * K; ++k)
#pragma GCC unroll 2
      for (int u = 0; u < U; ++u) acc[k][u] = Lanes::load(sums + k * s_.c + u * kLanes);
    const int64_t channels = s_.c, step = s_.sw * kWidth, fetched = s_.sh * s_.sw * kWidth;
    for (int64_t column = 0; column < s_.wo; column += tile_) {
      const int64_t count = std::min(tile_, s_.wo - column);
      int64_t ready = first * s_.sh - s_.ph;  // the ring holds the rows before it
      for (int64_t ho = first; ho < last; ++ho) {
        const int64_t top = ho * s_.sh - s_.ph;
        for (ready = std::max(ready, top); ready < top + K; ++ready)
          copy_row(x, ready, column * s_.sw - s_.pw);
        const T* rows[K];
#pragma GCC unroll 5
        for (int k = 0; k < K; ++k) rows[k] = row(top + k);
        const T* from = g + (ho * s_.wo + column) * channels;
        for (int64_t p = 0, at = 0; p < count; ++p, at += step, from += channels) {
          if constexpr (kFetch) {
            for (int64_t k = 0; k < kWidth; k += kLanes) __builtin_prefetch(ahead.g + k, 0, 2);
            for (int64_t k = 0; k < fetched; k += kLanes) __builtin_prefetch(ahead.x + k, 0, 2);
            ahead.g += kWidth;
            ahead.x += fetched;
          }
          V gradient[U];
#pragma GCC unroll 2
          for (int u = 0; u < U; ++u) gradient[u] = Lanes::load(from + u * kLanes);
#pragma GCC unroll 25
          for (int k = 0; k < K * K; ++k)
#pragma GCC unroll 2
            for (int u = 0; u < U; ++u)
              acc[k][u] +=
                  gradient[u] * Lanes::load(rows[k / K] + at + k % K * kWidth + u * kLanes);
        }
      }
    }
#pragma GCC unroll 25
    for (int k = 0; k < K * K; ++k)
#pragma GCC unroll 2
      for (int u = 0; u < U; ++u) Lanes::store(sums + k * s_.c + u * kLanes, acc[k][u]);
  }

 private:
  T* row(int64_t h) { return ring_ + (h + s_.ph) % K * columns_ * kWidth; }

  // Row h from column w on, which may lie outside, into its place.
  void copy_row(const T* x, int64_t h, int64_t w) {
    T* to = row(h);
    const bool exists = h >= 0 && h < s_.h;
    const int64_t left = exists ? std::clamp<int64_t>(-w, 0, columns_) : columns_;
    const int64_t inside = std::clamp<int64_t>(s_.w - w - left, 0, columns_ - left);
    const int64_t channels = s_.c;
    const T* from = x + (h * s_.w + w + left) * channels;
    std::fill_n(to, left * kWidth, T(0));
    to += left * kWidth;
    for (int64_t i = 0; i < inside; ++i, from += channels, to += kWidth)
#pragma GCC unroll 2
      for (int u = 0; u < U; ++u) Lanes::store(to + u * kLanes, Lanes::load(from + u * kLanes));
    std::fill_n(to, (columns_ - left - inside) * kWidth, T(0));
  }

  const ConvShape& s_;
  int64_t tile_, columns_;  // output columns that are walked together, input columns they read
  T* ring_;
};

// Rows [first, last) of image n for all whole vectors of channels; returns how many channels.
template <class T, int K, bool kFetch>
int64_t add_stretch(const ConvShape& s, const T* g, const T* x, int64_t first, int64_t last,
                    T* sums) {
  constexpr int64_t kLanes = cpu::Vector<T>::kLanes;
  constexpr int kPair = K == 3 ? 2 : 1;  // as many sums as registers hold
  thread_local std::vector<T> ring;
  Ahead<T> ahead{g + last * s.wo * s.c, x + (last * s.sh + s.ph) * s.w * s.c};
  int64_t c = 0;
  for (; c + kPair * kLanes <= s.c; c += kPair * kLanes)
    Block<T, K, kPair, kFetch>(s, ring).add(g + c, x + c, first, last, ahead, sums + c);
  for (; c + kLanes <= s.c; c += kLanes)
    Block<T, K, 1, kFetch>(s, ring).add(g + c, x + c, first, last, ahead, sums + c);
  return c;
}

template <class T, int K>
void add_rows(const ConvShape& s, const T* g, const T* x, int64_t first, int64_t last, T* sums) {
  const int64_t row_bytes = (s.wo + s.sh * s.w) * s.c * static_cast<int64_t>(sizeof(T));
  const bool fetch = row_bytes * s.n * s.ho > kCachedBytes;
  const int64_t stretch = fetch ? std::max<int64_t>(1, kStretchBytes / row_bytes) : s.ho;
  for (int64_t r = first; r < last;) {
    const int64_t n = r / s.ho, ho = r % s.ho;
    const int64_t count = std::min({stretch, last - r, s.ho - ho});
    const auto add = fetch ? add_stretch<T, K, true> : add_stretch<T, K, false>;
    const int64_t done =
        add(s, g + n * s.ho * s.wo * s.c, x + n * s.h * s.w * s.c, ho, ho + count, sums);
    for (int64_t k = r; done < s.c && k < r + count; ++k) add_row(s, g, x, k, done, sums);
    r += count;
  }
}

}  // namespace

template <class T>
void add_weight_grad(const ConvShape& s, const T* g, const T* x, int64_t first, int64_t last,
                     T* sums) {
  // Narrower registers would not hold the sums.
  constexpr bool kHeld = cpu::kPanelLanes == 16;
  if (kHeld && s.kh == s.kw && s.dh == 1 && s.dw == 1 && s.wo >= kFewColumns) {
    if (s.kh == 3) return add_rows<T, 3>(s, g, x, first, last, sums);
    if (s.kh == 5) return add_rows<T, 5>(s, g, x, first, last, sums);
  }
  for (int64_t r = first; r < last; ++r) add_row(s, g, x, r, 0, sums);
}

template void add_weight_grad(const ConvShape&, const float*, const float*, int64_t, int64_t,
                              float*);
template void add_weight_grad(const ConvShape&, const double*, const double*, int64_t, int64_t,
                              double*);

}  // namespace tessera::conv::depthwise

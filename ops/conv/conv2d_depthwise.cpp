#include <algorithm>
#include <span>
#include <vector>

#include "ops/conv/conv2d_depthwise.h"
#include "ops/cpu/blocked_gemm.h"
#include "ops/cpu/lanes.h"
#include "tensor/tensor.h"

namespace tessera::conv::depthwise {
namespace {

// Where one output coordinate reads: filter tap k at input coordinate `at`.
struct Tap {
  int64_t k, at;
};

// Output coordinates first, first + step, ... (count of them) that use the same taps; each next
// one reads `advance` further.
struct Run {
  int64_t first, count, step, advance;
  std::vector<Tap> taps;
};

constexpr int64_t kRun = 4;                 // outputs of a run that share the loads of the filter
constexpr int64_t kBlockVectors = 4;        // channels of one walk along a row, in vectors
constexpr int64_t kFetchBytes = 8 << 20;    // of images that caches will not hold
constexpr int64_t kFilterBytes = 24 << 10;  // what the filters may take of the first-level cache

// One axis of a gather: how output coordinates map to input coordinates, in either direction.
struct Axis {
  int64_t out, in, k, stride, padding, dilation;
  bool transposed;  // out is the image and in the gradient of the convolution's result

  std::vector<Tap> taps(int64_t coordinate) const {
    std::vector<Tap> list;
    for (int64_t i = 0; i < k; ++i) {
      int64_t at = transposed ? coordinate + padding - i * dilation
                              : coordinate * stride - padding + i * dilation;
      if (transposed && (at < 0 || at % stride != 0)) continue;
      if (transposed) at /= stride;
      if (at >= 0 && at < in) list.push_back({i, at});
    }
    return list;
  }

  // Groups of kRun equal neighbours where possible, shorter ones at the borders. Transposed and
  // strided, every stride-th coordinate uses the same taps.
  std::vector<Run> runs() const {
    const int64_t step = transposed ? stride : 1, advance = transposed ? 1 : stride;
    std::vector<Run> list;
    for (int64_t phase = 0; phase < std::min(step, out); ++phase) {
      for (int64_t c = phase; c < out; c += step) {
        std::vector<Tap> own = taps(c);
        Run* last = list.empty() ? nullptr : &list.back();
        const bool same = last && last->count < kRun && last->first + last->count * step == c &&
                          last->taps.size() == own.size() &&
                          std::equal(own.begin(), own.end(), last->taps.begin(), [&](Tap a, Tap b) {
                            return a.k == b.k && a.at == b.at + last->count * advance;
                          });
        if (same) {
          ++last->count;
        } else {
          list.push_back({c, 1, step, advance, std::move(own)});
        }
      }
    }
    return list;
  }
};

// A tap of an output pixel: where its filter values and its input channels start.
struct Offset {
  int64_t filter, input;
};

template <class T>
struct Gather {
  const T* in;       // the images (N, in.h, in.w, C), later from the first row of one output row
  T* out;            // (N, out.h, out.w, C), later that output row
  const T* filters;  // (KH KW, C)
  const T* bias;
  int64_t channels;
  Clamp<T> clamp{};
  bool stream = false;  // the result is written past the caches
};

// `Count` outputs of a run, U vectors of channels from c on. `next` and `out_next` are the steps
// from one output to the next in the input and in the output.
template <class L, int U, int Count, class T>
inline void gather_channels(const Gather<T>& a, std::span<const Offset> taps, int64_t next, T* out,
                            int64_t out_next, int64_t c) {
  using V = typename L::Type;
  constexpr int64_t kLanes = L::kLanes;
  V acc[Count][U];
  for (int i = 0; i < Count; ++i)
    for (int u = 0; u < U; ++u) acc[i][u] = a.bias ? L::load(a.bias + c + u * kLanes) : V{};
  for (const Offset& tap : taps) {
    const T* w = a.filters + tap.filter + c;
    const T* x = a.in + tap.input + c;
    for (int u = 0; u < U; ++u) {
      const V filter = L::load(w + u * kLanes);
      for (int i = 0; i < Count; ++i) acc[i][u] += filter * L::load(x + i * next + u * kLanes);
    }
  }
  for (int i = 0; i < Count; ++i)
    for (int u = 0; u < U; ++u) {
      T* const to = out + i * out_next + c + u * kLanes;
      if (a.stream)
        cpu::stream_lanes(to, a.clamp(acc[i][u]));
      else
        L::store(to, a.clamp(acc[i][u]));
    }
}

// Channels [begin, end) of `Count` outputs from `first` on: pairs of vectors, then one vector, then
// single channels.
template <int Count, class T>
void gather_block(const Gather<T>& a, std::span<const Offset> taps, const Run& run, int64_t first,
                  int64_t begin, int64_t end) {
  using Lanes = cpu::Vector<T>;
  constexpr int64_t kLanes = Lanes::kLanes;
  const int64_t next = run.advance * a.channels, out_next = run.step * a.channels;
  T* out = a.out + first * a.channels;
  int64_t c = begin;
  for (; c + 2 * kLanes <= end; c += 2 * kLanes)
    gather_channels<Lanes, 2, Count>(a, taps, next, out, out_next, c);
  for (; c + kLanes <= end; c += kLanes)
    gather_channels<Lanes, 1, Count>(a, taps, next, out, out_next, c);
  for (; c < end; ++c) gather_channels<cpu::Scalar<T>, 1, Count>(a, taps, next, out, out_next, c);
}

template <class T>
void gather_run(const Gather<T>& a, std::span<const Offset> taps, const Run& run, int64_t begin,
                int64_t end) {
  switch (run.count) {
    case 1:
      return gather_block<1>(a, taps, run, run.first, begin, end);
    case 2:
      return gather_block<2>(a, taps, run, run.first, begin, end);
    case 3:
      return gather_block<3>(a, taps, run, run.first, begin, end);
    default:
      return gather_block<kRun>(a, taps, run, run.first, begin, end);
  }
}

// Fetches elements [part / parts, (part + 1) / parts) of what the next output row reads first.
template <class T>
inline void fetch_ahead(const T* next, int64_t count, int64_t part, int64_t parts) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  for (int64_t i = count * part / parts; i < count * (part + 1) / parts; i += kLine)
    __builtin_prefetch(next + i, 0, 2);
}

// Taps of all runs of an output row, one after the other. Their inputs count from the row's first
// input row, so that all rows but those at the border share one list.
class RowTaps {
 public:
  RowTaps(const std::vector<Run>& runs, const Axis& horizontal, int64_t channels)
      : runs_(runs), horizontal_(horizontal), channels_(channels) {}

  const Offset* get(const std::vector<Tap>& rows) {
    const bool same = std::equal(
        rows.begin(), rows.end(), rows_.begin(), rows_.end(), [&](const Tap& a, const Tap& b) {
          return a.k == b.k && a.at - rows.front().at == b.at - rows_.front().at;
        });
    if (same) return taps_.data();
    rows_ = rows;
    taps_.clear();
    for (const Run& run : runs_)
      for (const Tap& row : rows)
        for (const Tap& col : run.taps)
          taps_.push_back({(row.k * horizontal_.k + col.k) * channels_,
                           ((row.at - rows.front().at) * horizontal_.in + col.at) * channels_});
    return taps_.data();
  }

 private:
  const std::vector<Run>& runs_;
  const Axis& horizontal_;
  int64_t channels_;
  std::vector<Tap> rows_;
  std::vector<Offset> taps_;
};

// out (N, vertical.out, horizontal.out, C) from in (N, vertical.in, horizontal.in, C). Where the
// filters are too large for the first-level cache, a row is walked once per block of channels.
template <class T>
void gather(const Axis& vertical, const Axis& horizontal, int64_t images, const Gather<T>& all) {
  const int64_t channels = all.channels;
  const bool whole =
      vertical.k * horizontal.k * channels * static_cast<int64_t>(sizeof(T)) <= kFilterBytes;
  const int64_t block = whole ? channels : kBlockVectors * cpu::Vector<T>::kLanes;
  const std::vector<Run> runs = horizontal.runs();
  const int64_t in_row = horizontal.in * channels;
  const int64_t blocks = (channels + block - 1) / block;
  const auto visits = blocks * static_cast<int64_t>(runs.size());
  const int64_t image_bytes = vertical.in * in_row * static_cast<int64_t>(sizeof(T));
  const bool fetch = images * image_bytes >= kFetchBytes;
  const int64_t row_bytes = channels * static_cast<int64_t>(sizeof(T));
  const bool stream =
      cpu::can_stream(all.out, row_bytes, images * vertical.out * horizontal.out * row_bytes);
  const int64_t rows_ahead = vertical.transposed ? 1 : vertical.stride;
  parallel_for(0, images * vertical.out, 1, [&](int64_t begin, int64_t end) {
    RowTaps row_taps(runs, horizontal, channels);
    for (int64_t r = begin; r < end; ++r) {
      const std::vector<Tap> rows = vertical.taps(r % vertical.out);
      const int64_t first = rows.empty() ? 0 : rows.front().at;
      Gather<T> a = all;
      a.stream = stream;
      a.in += (r / vertical.out * vertical.in + first) * in_row;
      a.out += r * horizontal.out * channels;
      const Offset* const taps = row_taps.get(rows);
      const int64_t below = rows.empty() ? 0 : std::max(first, rows.back().at) + 1 - first;
      int64_t visit = 0;
      for (int64_t c = 0; c < channels; c += block) {
        const Offset* of_run = taps;
        for (const Run& run : runs) {
          const size_t count = rows.size() * run.taps.size();
          if (fetch) fetch_ahead(a.in + below * in_row, rows_ahead * in_row, visit++, visits);
          gather_run(a, {of_run, count}, run, c, std::min(c + block, channels));
          of_run += count;
        }
      }
    }
    if (stream) cpu::stream_fence();
  });
}

// (C, taps) and (taps, C) into each other.
template <class T>
void transpose(const T* source, int64_t rows, int64_t cols, T* out) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c) out[c * rows + r] = source[r * cols + c];
}

constexpr int64_t kParts = 16;  // partial sums of the weight gradient, whatever the threads

// Depth multiplier k = O / C: filter o reads channel o / k. The image is repeated to O channels.
template <class T>
Tensor repeat_channels(const T* x, int64_t pixels, int64_t channels, int64_t times) {
  Tensor out = empty({pixels, channels * times}, dtype_of<T>());
  T* y = out.data<T>();
  parallel_for(0, pixels, 256, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * channels; i < end * channels; ++i)
      std::fill_n(y + i * times, times, x[i]);
  });
  return out;
}

ConvShape with_repeated_channels(ConvShape s) {
  s.c = s.groups = s.o;
  return s;
}

}  // namespace

bool applies(const ConvShape& s) { return s.groups == s.c && s.c > 1 && s.o > 0; }

template <class T>
void forward(const ConvShape& s, const T* x, const T* w, const T* bias, T* y,
             Activation activation) {
  if (s.o != s.c) {
    const Tensor wide = repeat_channels(x, s.n * s.h * s.w, s.c, s.o / s.c);
    return forward(with_repeated_channels(s), wide.data<T>(), w, bias, y, activation);
  }
  const Tensor filters = empty({s.kh * s.kw, s.c}, dtype_of<T>());
  transpose(w, s.c, s.kh * s.kw, filters.data<T>());
  gather(Axis{s.ho, s.h, s.kh, s.sh, s.ph, s.dh, false},
         Axis{s.wo, s.w, s.kw, s.sw, s.pw, s.dw, false}, s.n,
         Gather<T>{x, y, filters.data<T>(), bias, s.c, Clamp<T>(activation)});
}

template <class T>
void input_grad(const ConvShape& s, const T* g, const T* w, T* gx) {
  if (s.o != s.c) {
    const int64_t pixels = s.n * s.h * s.w, times = s.o / s.c;
    const Tensor wide = empty({pixels, s.o}, dtype_of<T>());
    input_grad(with_repeated_channels(s), g, w, wide.data<T>());
    const T* parts = wide.data<T>();
    parallel_for(0, pixels * s.c, 4096, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        T sum = 0;
        for (int64_t j = 0; j < times; ++j) sum += parts[i * times + j];
        gx[i] = sum;
      }
    });
    return;
  }
  const Tensor filters = empty({s.kh * s.kw, s.c}, dtype_of<T>());
  transpose(w, s.c, s.kh * s.kw, filters.data<T>());
  gather(Axis{s.h, s.ho, s.kh, s.sh, s.ph, s.dh, true},
         Axis{s.w, s.wo, s.kw, s.sw, s.pw, s.dw, true}, s.n,
         Gather<T>{g, gx, filters.data<T>(), nullptr, s.c});
}

template <class T>
void weight_grad(const ConvShape& s, const T* g, const T* x, T* gw) {
  if (s.o != s.c) {
    const Tensor wide = repeat_channels(x, s.n * s.h * s.w, s.c, s.o / s.c);
    return weight_grad(with_repeated_channels(s), g, wide.data<T>(), gw);
  }
  const int64_t rows = s.n * s.ho, parts = std::min(kParts, rows), size = s.kh * s.kw * s.c;
  const Tensor partial = empty({parts, size}, dtype_of<T>());
  T* sums = partial.data<T>();
  parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      std::fill_n(sums + p * size, size, T(0));
      add_weight_grad(s, g, x, rows * p / parts, rows * (p + 1) / parts, sums + p * size);
    }
  });
  for (int64_t p = 1; p < parts; ++p)
    for (int64_t i = 0; i < size; ++i) sums[i] += sums[p * size + i];
  transpose(sums, s.kh * s.kw, s.c, gw);
}

template void forward(const ConvShape&, const float*, const float*, const float*, float*,
                      Activation);
template void forward(const ConvShape&, const double*, const double*, const double*, double*,
                      Activation);
template void input_grad(const ConvShape&, const float*, const float*, float*);
template void input_grad(const ConvShape&, const double*, const double*, double*);
template void weight_grad(const ConvShape&, const float*, const float*, float*);
template void weight_grad(const ConvShape&, const double*, const double*, double*);

}  // namespace tessera::conv::depthwise

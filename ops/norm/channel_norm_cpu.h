#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/norm/channel_norm.h"
#include "ops/pointwise/pointwise_formulas.h"
#include "tensor/parallel.h"
#include "tensor/view.h"

// What the forward and backward CPU kernels of channel_norm share.
namespace tessera::cpu {

// Rows of one block of statistics: about 64 KB of floats, so that the second pass over it hits the
// cache. Depends on the shape alone, hence so do the results.
inline int64_t block_rows(int64_t channels) {
  return std::clamp<int64_t>(16384 / std::max<int64_t>(1, channels), 32, 4096);
}

// Rows per thread for a pass that treats rows one by one.
inline int64_t row_grain(int64_t channels) {
  return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, channels));
}

// Elements that the innermost loops treat at a time.
constexpr int64_t kTile = 128;

// Calls body(first, n) for pieces [first, first + n) of `count` elements.
template <class Body>
void for_tiles(int64_t count, const Body& body) {
  for (int64_t i = 0; i < count; i += kTile) body(i, std::min(kTile, count - i));
}

// Narrow rows are treated as one of `rows_at_once` times as many channels, with as many copies of
// their coefficients side by side: long loops, and short sums.
inline int64_t rows_at_once(int64_t channels) {
  return std::max<int64_t>(1, kTile / std::max<int64_t>(1, channels));
}
template <class C>
void repeat(C* values, int64_t channels) {
  for (int64_t i = channels; i < rows_at_once(channels) * channels; ++i)
    values[i] = values[i - channels];
}
template <class C>
void fold(C* sums, int64_t channels) {
  for (int64_t i = channels; i < rows_at_once(channels) * channels; ++i)
    sums[i % channels] += sums[i];
}

// Calls body(b, r, n) for rows [r, r + n) of batch entry b, n <= rows_at_once, until all are done;
// in parallel and by chunks from the last to the first: the pass before has just read the last
// ones. Upwards inside a chunk, for the prefetchers.
template <class Body>
void for_rows_from_the_end(const NormLayout& l, const Body& body) {
  const int64_t rows = l.batch * l.spatial, chunk = row_grain(l.channels);
  const int64_t most = rows_at_once(l.channels);
  parallel_for(0, (rows + chunk - 1) / chunk, 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = end; k-- > begin;) {
      int64_t r = k * chunk, b = r / l.spatial;
      for (const int64_t stop = std::min(rows, r + chunk); r < stop; ++b) {
        const int64_t last = std::min(stop, (b + 1) * l.spatial);
        for (; r < last; r += most) body(b, r, std::min(most, last - r));
        r = last;
      }
    }
  });
}

// Asks for n elements 2 KB ahead of each pointer. Rows of three tensors side by side are more than
// the hardware's own prefetchers follow: without this the passes reach half the bandwidth of
// memory. Reaching behind the end is harmless, as nothing is read. Inlined by force: g++ takes a
// function that only prefetches for one without effect and drops the call.
template <class T, class... More>
[[gnu::always_inline]] inline void prefetch_ahead(int64_t n, const T* p, const More*... more) {
  constexpr int64_t kLine = 64 / sizeof(T), kAhead = 2048 / sizeof(T);
  for (int64_t i = 0; i < n; i += kLine) {
    __builtin_prefetch(p + kAhead + i);
    (__builtin_prefetch(more + kAhead + i), ...);
  }
}

// Calls body(b, first_row, rows, index) for the blocks of every batch entry, in parallel; blocks
// are numbered batch entry by batch entry.
template <class Body>
void for_blocks(const NormLayout& l, const Body& body) {
  const int64_t rows = block_rows(l.channels), blocks = (l.spatial + rows - 1) / rows;
  const int64_t grain = row_grain(l.channels) / std::max<int64_t>(1, std::min(rows, l.spatial));
  parallel_for(0, l.batch * blocks, std::max<int64_t>(1, grain), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % blocks * rows;
      body(i / blocks, first, std::min(rows, l.spatial - first), i);
    }
  });
}

inline int64_t blocks_per_entry(const NormLayout& l) {
  const int64_t rows = block_rows(l.channels);
  return (l.spatial + rows - 1) / rows;
}

// Scratch of `rows` x `columns`, uninitialised.
template <class C>
class Scratch {
 public:
  Scratch(int64_t rows, int64_t columns)
      : columns_(columns),
        tensor_(empty({rows, columns}, dtype_of<C>())),
        data_(tensor_.template data<C>()) {}
  C* row(int64_t r) const { return data_ + r * columns_; }

 private:
  int64_t columns_;
  Tensor tensor_;
  C* data_;
};

template <class C>
C inverse_deviation(C var, double eps) {
  return static_cast<C>(1.0 / std::sqrt(static_cast<double>(var) + eps));
}

// weight and bias in the computing type; null where undefined.
template <class C>
struct Affine {
  Tensor weight_, bias_;
  const C *weight = nullptr, *bias = nullptr;
  Affine(const Tensor& w, const Tensor& b) {
    if (w.defined()) weight_ = view::contiguous(view::to(w.detach(), dtype_of<C>()));
    if (b.defined()) bias_ = view::contiguous(view::to(b.detach(), dtype_of<C>()));
    if (w.defined()) weight = weight_.template data<C>();
    if (b.defined()) bias = bias_.template data<C>();
  }
  C w(int64_t c) const { return weight ? weight[c] : C(1); }
  C b(int64_t c) const { return bias ? bias[c] : C(0); }
};

// Sums f(0) + ... + f(n - 1) in 32 running sums, which the compiler keeps in vector registers.
template <class C, class F>
C lane_sum(int64_t n, const F& f) {
  constexpr int kLanes = 32;
  C lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int k = 0; k < kLanes; ++k) lanes[k] += f(i + k);
  for (int k = 0; i < n; ++i, ++k) lanes[k] += f(i);
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int k = 0; k < width; ++k) lanes[k] += lanes[k + width];
  return lanes[0];
}

struct Identity {
  template <class C>
  static C value(C x, math::Args<C>) {
    return x;
  }
  template <class C>
  static C grad(C g, C, math::Args<C>) {
    return g;
  }
};

// Calls body(formula, args). A clamp's result lies on a bound exactly when its argument does or is
// beyond, so the result may stand for the argument in hardtanh's grad too.
template <class C, class Body>
void with_formula(Activation activation, const Body& body) {
  const math::Args<C> args{C(0), C(6)};
  switch (activation) {
    case Activation::none:
      return body(Identity{}, args);
    case Activation::relu:
      return body(math::Relu{}, args);
    case Activation::relu6:
      return body(math::Hardtanh{}, args);
  }
}

inline bool is_layer_norm(const NormLayout& l) { return l.spatial == 1 && l.group == l.channels; }

}  // namespace tessera::cpu

#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "ops/reduce/reducers.h"
#include "tensor/strided_loop.h"
#include "tensor/view.h"

namespace tessera::cpu {

/// A reduction seen as rows x columns: either each row of `length` contiguous elements gives one
/// output (inner), or `length` rows of `outputs` contiguous elements are combined (outer).
struct ReducePlan {
  Tensor x;             // contiguous, 2-D (batch, ...) as below
  int64_t batch = 1;    // independent problems
  int64_t length = 1;   // elements that are combined
  int64_t outputs = 1;  // contiguous outputs per problem; > 1 means outer
};

/// Brings x (rank r) and the set of reduced axes into ReducePlan form: x viewed, or copied when the
/// reduced axes are scattered, as (batch, length, outputs), row-major. The outputs, row-major over
/// the kept axes, are (batch, outputs).
ReducePlan plan_reduction(const Tensor& x, const Shape& y_shape);

// Reducers: see ops/reduce/reducers.h. How elements are grouped depends on the plan alone, so
// results do not depend on the threads.

namespace detail {

constexpr int64_t kBlock = 1024;         // elements of a row in lanes before they are merged
constexpr int64_t kBlockRows = 64;       // the same for rows of columns
constexpr int64_t kPiece = 64 * kBlock;  // elements of a long row that one thread takes at once
constexpr int64_t kTile = 1024;          // columns that one thread takes at once

template <class T, class R>
typename R::Wide reduce_run(const T* x, int64_t n, const R& r, int64_t output) {
  using C = compute_t<T>;
  constexpr int64_t kLanes = 32;
  typename R::Wide total = r.wide();
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t count = std::min(kBlock, n - begin);
    const T* p = x + begin;
    int64_t i = 0;
    if (count >= kLanes) {
      typename R::Lane lane[kLanes];
      for (int64_t k = 0; k < kLanes; ++k) lane[k] = r.lane();
      for (; i + kLanes <= count; i += kLanes)
        for (int64_t k = 0; k < kLanes; ++k) r.step(lane[k], static_cast<C>(p[i + k]), output);
      for (int64_t k = 0; k < kLanes; ++k) r.merge(total, static_cast<typename R::Wide>(lane[k]));
    }
    typename R::Lane rest = r.lane();
    for (; i < count; ++i) r.step(rest, static_cast<C>(p[i]), output);
    r.merge(total, static_cast<typename R::Wide>(rest));
  }
  return total;
}

// One long row: fixed pieces in parallel, merged in order.
template <class T, class R>
typename R::Wide reduce_long(const T* x, int64_t n, const R& r, int64_t output) {
  const int64_t pieces = (n + kPiece - 1) / kPiece;
  std::vector<typename R::Wide> partial(static_cast<size_t>(pieces));
  parallel_for(0, pieces, 1, [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i)
      partial[static_cast<size_t>(i)] =
          reduce_run(x + i * kPiece, std::min(kPiece, n - i * kPiece), r, output);
  });
  typename R::Wide total = r.wide();
  for (const auto& p : partial) r.merge(total, p);
  return total;
}

// Rows [first, last) of `width` <= kTile columns, rows `stride` apart.
template <class T, class R>
void reduce_tile(const T* x, int64_t first, int64_t last, int64_t width, int64_t stride, const R& r,
                 int64_t output, typename R::Wide* sums) {
  std::array<typename R::Lane, kTile> lane;
  for (int64_t k = 0; k < width; ++k) sums[k] = r.wide();
  for (int64_t r0 = first; r0 < last; r0 += kBlockRows) {
    for (int64_t k = 0; k < width; ++k) lane[static_cast<size_t>(k)] = r.lane();
    for (int64_t row = r0; row < std::min(last, r0 + kBlockRows); ++row) {
      const T* p = x + row * stride;
      for (int64_t k = 0; k < width; ++k)
        r.step(lane[static_cast<size_t>(k)], static_cast<compute_t<T>>(p[k]), output + k);
    }
    for (int64_t k = 0; k < width; ++k)
      r.merge(sums[k], static_cast<typename R::Wide>(lane[static_cast<size_t>(k)]));
  }
}

// One problem of columns: tiles of columns and, where those are few, pieces of rows in parallel.
template <class T, class Out, class R>
void reduce_columns(const T* x, int64_t length, int64_t outputs, const R& r, int64_t output,
                    Out* y) {
  const int64_t tiles = (outputs + kTile - 1) / kTile;
  const int64_t pieces =
      tiles >= 16 ? 1
                  : std::clamp<int64_t>(length * outputs / 65536, 1, std::min<int64_t>(64, length));
  std::vector<typename R::Wide> partial(static_cast<size_t>(pieces > 1 ? pieces * outputs : 0));
  const int64_t grain =
      std::max<int64_t>(1, 32768 / (length * std::min(outputs, kTile) / pieces + 1));
  parallel_for(0, tiles * pieces, grain, [&](int64_t b, int64_t e) {
    for (int64_t unit = b; unit < e; ++unit) {
      const int64_t column = unit % tiles * kTile, piece = unit / tiles;
      const int64_t width = std::min(kTile, outputs - column);
      std::array<typename R::Wide, kTile> own;
      typename R::Wide* sums = pieces > 1 ? partial.data() + piece * outputs + column : own.data();
      reduce_tile(x + column, length * piece / pieces, length * (piece + 1) / pieces, width,
                  outputs, r, output + column, sums);
      if (pieces > 1) continue;
      for (int64_t k = 0; k < width; ++k) y[column + k] = r.finish(sums[k]);
    }
  });
  if (pieces == 1) return;
  for (int64_t k = 0; k < outputs; ++k) {
    typename R::Wide total = partial[static_cast<size_t>(k)];
    for (int64_t piece = 1; piece < pieces; ++piece)
      r.merge(total, partial[static_cast<size_t>(piece * outputs + k)]);
    y[k] = r.finish(total);
  }
}

}  // namespace detail

/// out[b * outputs + k] = the reduction of problem b's column k (or of row b). length >= 1. T is
/// the element type of plan.x. Parallel, deterministic.
template <class T, class Out, class R>
void reduce(const ReducePlan& plan, const R& r, Out* out) {
  const T* in = plan.x.data<T>();
  const int64_t length = plan.length, outputs = plan.outputs;
  if (outputs > 1) {
    const auto one = [&](int64_t b) {
      detail::reduce_columns(in + b * length * outputs, length, outputs, r, b * outputs,
                             out + b * outputs);
    };
    if (plan.batch < 8) {
      for (int64_t b = 0; b < plan.batch; ++b) one(b);
    } else {
      parallel_for(0, plan.batch, std::max<int64_t>(1, 16384 / (length * outputs)),
                   [&](int64_t b, int64_t e) {
                     for (; b < e; ++b) one(b);
                   });
    }
  } else if (length >= 4 * detail::kPiece || plan.batch == 1) {
    for (int64_t b = 0; b < plan.batch; ++b)
      out[b] = r.finish(detail::reduce_long(in + b * length, length, r, b));
  } else {
    parallel_for(0, plan.batch, std::max<int64_t>(1, 16384 / length), [&](int64_t b, int64_t e) {
      for (; b < e; ++b) out[b] = r.finish(detail::reduce_run(in + b * length, length, r, b));
    });
  }
}

}  // namespace tessera::cpu

namespace tessera {

/// What a reduction over `axes` (all when empty; negative counts from the end) leaves: `kept` with
/// the reduced axes as 1, `dropped` without them, `count` elements per output. ValueError naming
/// `op` for an axis out of range or given twice.
struct ReducedShape {
  Shape kept, dropped;
  Dims axes;
  int64_t count = 1;
};
ReducedShape reduced_shape(const Shape& x, const Dims& axes, std::string_view op);

}  // namespace tessera

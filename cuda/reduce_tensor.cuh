#pragma once

#include "cuda/map.cuh"
#include "cuda/reduce.cuh"
#include "cuda/reduce_plan.h"

/// Reductions of a tensor over any of its axes, with any strides: the counterpart of
/// ops/cpu/reduce.h, with the reducers of ops/reduce/reducers.h. How elements are grouped depends
/// on shape and strides alone and everything is merged in a fixed order: the same bits every time.
///
/// Bound by memory: x is read once, 16 bytes per thread at a time where it lies so. Where outputs
/// are few their elements are split into pieces, and a second kernel merges the pieces.
namespace tessera::cuda {

namespace detail {

inline constexpr int kReduceBlock = 256;
// Packs that a thread has on their way at once.
template <int kVector>
inline constexpr int kReduceUnroll = kVector < 8 ? 4 : 2;
inline constexpr int kReduceFlush = 8;  // times as many steps of a lane before it is merged
inline constexpr int kReducePieces = 1024;
// Threads that fill a large GPU, and blocks. Constants, so that results are those of any GPU.
inline constexpr int64_t kReduceThreads = 1 << 18;
inline constexpr int64_t kReduceBlocks = 1024;

constexpr int floor_power_of_two(int v) {
  int p = 1;
  while (2 * p <= v) p *= 2;
  return p;
}
// Elements of a pack: 16 bytes (4 of single bytes, whose lanes are wide), within `budget` bytes of
// registers of which each takes `state`.
template <class T>
constexpr int reduce_vector(size_t state, int budget) {
  const int fitting = std::max(1, budget / static_cast<int>(state));
  return std::min(sizeof(T) == 1 ? 4 : kMapVector<T>, floor_power_of_two(fitting));
}
// Rows keep a lane per element, columns a lane and a sum.
template <class T, class R>
inline constexpr int kRowVector = reduce_vector<T>(sizeof(typename R::Lane), 64);
template <class T, class R>
inline constexpr int kColumnVector = reduce_vector<T>(sizeof(typename R::Lane) +
                                                          sizeof(typename R::Wide),
                                                      96);

/// Where a kernel leaves what it combined: the results, or with several pieces (pieces, outputs)
/// for merge_pieces.
template <class Out, class R>
struct ReduceResult {
  Out* y;
  typename R::Wide* partial;
  int64_t outputs;

  __device__ __forceinline__ void store(const R& r, const typename R::Wide& w,
                                        int64_t output) const {
    if (partial)
      partial[int64_t{blockIdx.y} * outputs + output] = w;
    else
      y[output] = r.finish(w);
  }
};

// Reducers that look at an element's index among those that are combined have a fourth argument.
template <class C, class R>
__device__ __forceinline__ void reduce_step(const R& r, typename R::Lane& lane, C v, int64_t output,
                                            int64_t index) {
  if constexpr (requires { r.step(lane, v, output, index); })
    r.step(lane, v, output, index);
  else
    r.step(lane, v, output);
}

template <class R>
struct ReduceMerge {
  const R& r;
  using Wide = typename R::Wide;
  __device__ __forceinline__ Wide operator()(Wide a, const Wide& b) const {
    r.merge(a, b);
    return a;
  }
};

// The packs first, first + step, ... < end of one output at p.
template <int kVector, class T, class R>
__device__ __forceinline__ typename R::Wide reduce_packs(const T* p, const ReduceAxes& reduced,
                                                         int64_t first, int64_t end, int64_t step,
                                                         const R& r, int64_t output) {
  using Wide = typename R::Wide;
  Wide total = r.wide();
  int64_t unused = 0;
  for (int64_t i = first; i < end;) {
    typename R::Lane lane[kVector];
    TESSERA_UNROLL
    for (int k = 0; k < kVector; ++k) lane[k] = r.lane();
    for (int n = 0; n < kReduceFlush && i < end; ++n) {
      Pack<T, kVector> pack[kReduceUnroll<kVector>];
      TESSERA_UNROLL
      for (int u = 0; u < kReduceUnroll<kVector>; ++u) {
        if (i + u * step >= end) continue;
        int64_t at = 0;
        reduced.locate(i + u * step, at, unused);
        pack[u] = load_pack<kVector>(p + at, 1);
      }
      TESSERA_UNROLL
      for (int u = 0; u < kReduceUnroll<kVector>; ++u) {
        if (i + u * step >= end) continue;
        TESSERA_UNROLL
        for (int k = 0; k < kVector; ++k)
          reduce_step(r, lane[k], widened(pack[u].v[k]), output, (i + u * step) * kVector + k);
      }
      i += kReduceUnroll<kVector> * step;
    }
    TESSERA_UNROLL
    for (int k = 0; k < kVector; ++k) r.merge(total, static_cast<Wide>(lane[k]));
  }
  return total;
}

// Blocks of 256 threads; `group` neighbouring threads (a power of two) make one output, or the
// blockIdx.y-th piece of `piece` packs of it, in packs of kVector along the last axis that is
// combined. Where that is the only one its last `rest` elements, fewer than a pack, go to the last
// piece. Any number of outputs: blocks stride over them.
template <int kVector, class T, class Out, class R>
__global__ void __launch_bounds__(kReduceBlock, 1)
    reduce_rows(const T* x, ReduceAxes kept, ReduceAxes reduced, int rest, int group, int64_t piece,
                R r, ReduceResult<Out, R> result) {
  using Wide = typename R::Wide;
  TESSERA_SHARED(Wide, scratch, [kReduceBlock / 32]);
  const int lane = static_cast<int>(threadIdx.x) % group;
  const int64_t per_block = kReduceBlock / group;
  const int64_t begin = blockIdx.y * piece;
  const int64_t end = begin + piece < reduced.count ? begin + piece : reduced.count;
  for (int64_t base = blockIdx.x * per_block; base < kept.count; base += gridDim.x * per_block) {
    const int64_t unit = base + threadIdx.x / static_cast<unsigned>(group);
    Wide total = r.wide();
    int64_t at = 0, output = 0;
    if (unit < kept.count) {
      kept.locate(unit, at, output);
      total = reduce_packs<kVector>(x + at, reduced, begin + lane, end, group, r, output);
      if (kVector > 1 && blockIdx.y == gridDim.y - 1) {
        const int64_t packed = reduced.count * kVector;
        for (int64_t i = packed + lane; i < packed + rest; i += group) {
          typename R::Lane one = r.lane();
          reduce_step(r, one, widened(x[at + i]), output, i);
          r.merge(total, static_cast<Wide>(one));
        }
      }
    }
    total = group_reduce(total, group, ReduceMerge<R>{r}, scratch);
    if (lane == 0 && unit < kept.count) result.store(r, total, output);
  }
}

// Adds the rows first, first + step, ... < end of kVector neighbouring outputs at p to total.
template <int kVector, class T, class R>
__device__ __forceinline__ void reduce_column_packs(const T* p, const ReduceAxes& reduced,
                                                    int64_t first, int64_t end, int64_t step,
                                                    const R& r, int64_t output, int64_t out_step,
                                                    typename R::Wide (&total)[kVector]) {
  int64_t unused = 0;
  for (int64_t i = first; i < end;) {
    typename R::Lane lane[kVector];
    TESSERA_UNROLL
    for (int k = 0; k < kVector; ++k) lane[k] = r.lane();
    for (int n = 0; n < kReduceFlush && i < end; ++n) {
      Pack<T, kVector> pack[kReduceUnroll<kVector>];
      TESSERA_UNROLL
      for (int u = 0; u < kReduceUnroll<kVector>; ++u) {
        if (i + u * step >= end) continue;
        int64_t at = 0;
        reduced.locate(i + u * step, at, unused);
        pack[u] = load_pack<kVector>(p + at, 1);
      }
      TESSERA_UNROLL
      for (int u = 0; u < kReduceUnroll<kVector>; ++u) {
        if (i + u * step >= end) continue;
        TESSERA_UNROLL
        for (int k = 0; k < kVector; ++k)
          reduce_step(r, lane[k], widened(pack[u].v[k]), output + k * out_step, i + u * step);
      }
      i += kReduceUnroll<kVector> * step;
    }
    TESSERA_UNROLL
    for (int k = 0; k < kVector; ++k) r.merge(total[k], static_cast<typename R::Wide>(lane[k]));
  }
}

// Merges the totals of the threads behind one another, `rows` of `width` each (powers of two that
// make the block), by halves into those of row 0. Every thread of the block calls it; scratch is
// free again when it returns.
template <int kVector, class R, class Wide>
__device__ __forceinline__ void merge_block_rows(const R& r, Wide (&total)[kVector], int row,
                                                 int rows, int width,
                                                 Wide (&scratch)[kVector][kReduceBlock / 2]) {
  const int column = static_cast<int>(threadIdx.x) % width;
  for (int half = rows / 2; half > 0; half /= 2) {
    const int slot = (row < half ? row : row - half) * width + column;
    if (row >= half && row < 2 * half) {
      TESSERA_UNROLL
      for (int k = 0; k < kVector; ++k) scratch[k][slot] = total[k];
    }
    __syncthreads();
    if (row < half) {
      TESSERA_UNROLL
      for (int k = 0; k < kVector; ++k) r.merge(total[k], scratch[k][slot]);
    }
    __syncthreads();
  }
}

// Blocks of 256 threads, `width` neighbouring ones (a power of two) side by side and the others
// behind one another: a thread combines every (256 / width)-th row of kVector neighbouring outputs,
// out_step apart in y, of the blockIdx.y-th piece of `piece` rows. The threads behind one another
// are merged by halves. Any number of packs of outputs: blocks stride over them.
template <int kVector, class T, class Out, class R>
__global__ void __launch_bounds__(kReduceBlock, 1)
    reduce_columns(const T* x, ReduceAxes kept, ReduceAxes reduced, int64_t out_step, int width,
                   int64_t piece, R r, ReduceResult<Out, R> result) {
  using Wide = typename R::Wide;
  TESSERA_SHARED(Wide, scratch, [kVector][kReduceBlock / 2]);
  const int column = static_cast<int>(threadIdx.x) % width;
  const int row = static_cast<int>(threadIdx.x) / width, rows = kReduceBlock / width;
  const int64_t begin = blockIdx.y * piece;
  const int64_t end = begin + piece < reduced.count ? begin + piece : reduced.count;
  for (int64_t base = int64_t{blockIdx.x} * width; base < kept.count;
       base += int64_t{gridDim.x} * width) {
    const bool inside = base + column < kept.count;
    Wide total[kVector];
    TESSERA_UNROLL
    for (int k = 0; k < kVector; ++k) total[k] = r.wide();
    int64_t at = 0, output = 0;
    if (inside) {
      kept.locate(base + column, at, output);
      reduce_column_packs<kVector>(x + at, reduced, begin + row, end, rows, r, output, out_step,
                                   total);
    }
    merge_block_rows(r, total, row, rows, width, scratch);
    if (row == 0 && inside) {
      TESSERA_UNROLL
      for (int k = 0; k < kVector; ++k) result.store(r, total[k], output + k * out_step);
    }
  }
}

// `group` neighbouring threads (a power of two) merge one output's pieces.
template <class Out, class R>
__global__ void __launch_bounds__(kReduceBlock, 1)
    merge_pieces(const typename R::Wide* partial, int64_t pieces, int64_t outputs, int group, R r,
                 Out* y) {
  using Wide = typename R::Wide;
  TESSERA_SHARED(Wide, scratch, [kReduceBlock / 32]);
  const int lane = static_cast<int>(threadIdx.x) % group;
  const int64_t per_block = kReduceBlock / group;
  for (int64_t base = blockIdx.x * per_block; base < outputs; base += gridDim.x * per_block) {
    const int64_t output = base + threadIdx.x / static_cast<unsigned>(group);
    Wide total = r.wide();
    if (output < outputs)
      for (int64_t i = lane; i < pieces; i += group) r.merge(total, partial[i * outputs + output]);
    total = group_reduce(total, group, ReduceMerge<R>{r}, scratch);
    if (lane == 0 && output < outputs) y[output] = r.finish(total);
  }
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Threads that make one output: several packs for each, as long as the GPU is full.
inline int row_group(int64_t outputs, int64_t packs, int64_t pack_bytes) {
  int group = 1;
  while (group < kReduceBlock && group < packs &&
         (group * pack_bytes < 32 || 4 * group < packs || outputs * group < kReduceThreads))
    group *= 2;
  return group;
}

// Calls launch_pass(pieces, length of a piece, partial) and merges the pieces. `wanted` of them
// would fill the GPU; one has at least `least` packs or rows.
template <class Out, class R, class Pass>
void reduce_in_pieces(int64_t wanted, int64_t least, int64_t count, int64_t outputs, const R& r,
                      Device device, Out* y, const Pass& launch_pass) {
  using Wide = typename R::Wide;
  int64_t pieces = std::clamp<int64_t>(std::min(wanted, count / least), 1, kReducePieces);
  const int64_t piece = std::max<int64_t>(1, ceil_div(count, pieces));
  pieces = std::max<int64_t>(1, ceil_div(count, piece));
  if (pieces == 1) return launch_pass(1u, piece, nullptr);
  const Tensor scratch =
      empty({pieces * outputs * static_cast<int64_t>(sizeof(Wide))}, DType::u8, device);
  auto* partial = static_cast<Wide*>(static_cast<void*>(scratch.data<uint8_t>()));
  launch_pass(static_cast<unsigned>(pieces), piece, partial);
  int group = 1;
  while (group < kReduceBlock && 4 * group < pieces && outputs * group < kReduceThreads) group *= 2;
  launch(merge_pieces<Out, R>, {grid_for(outputs, kReduceBlock / group), kReduceBlock}, partial,
         pieces, outputs, group, r, y);
}

template <int kVector, class T, class Out, class R>
void launch_rows(const Tensor& x, const ReduceView& v, const R& r, Out* y) {
  const ReduceAxes kept = in_packs(v.kept, 1), reduced = in_packs(v.reduced, kVector);
  const int rest = static_cast<int>(v.reduced.inner() % kVector);
  const int64_t outputs = kept.count, bytes = kVector * static_cast<int64_t>(sizeof(T));
  const int group = row_group(outputs, reduced.count, bytes);
  const int64_t wanted = group < kReduceBlock ? 1 : kReduceBlocks / outputs;
  const auto pass = [&](unsigned pieces, int64_t piece, typename R::Wide* partial) {
    launch(reduce_rows<kVector, T, Out, R>,
           {dim3(grid_for(outputs, kReduceBlock / group), pieces), kReduceBlock}, x.data<T>(), kept,
           reduced, rest, group, piece, r, ReduceResult<Out, R>{y, partial, outputs});
  };
  reduce_in_pieces(wanted, kReduceUnroll<kVector> * kReduceBlock, reduced.count, outputs, r,
                   x.device(), y, pass);
}

// How many threads stand side by side: rows as deep as they keep threads busy, but whole sectors
// side by side.
inline int column_width(int64_t packs, int64_t rows) {
  int width = kReduceBlock;
  while (width > 1 && (width / 2 >= packs || (width > 32 && kReduceBlock / width < rows / 2)))
    width /= 2;
  return width;
}

template <int kVector, class T, class Out, class R>
void launch_columns(const Tensor& x, const ReduceView& v, const R& r, Out* y) {
  const ReduceAxes kept = in_packs(v.kept, kVector), reduced = in_packs(v.reduced, 1);
  const int64_t out_step = v.kept.out[v.kept.rank - 1], outputs = v.kept.count;
  const int width = column_width(kept.count, reduced.count);
  const int64_t blocks = ceil_div(kept.count, width), rows = kReduceBlock / width;
  const auto pass = [&](unsigned pieces, int64_t piece, typename R::Wide* partial) {
    launch(reduce_columns<kVector, T, Out, R>,
           {dim3(grid_for(kept.count, width), pieces), kReduceBlock}, x.data<T>(), kept, reduced,
           out_step, width, piece, r, ReduceResult<Out, R>{y, partial, outputs});
  };
  reduce_in_pieces(kReduceBlocks / blocks, kReduceUnroll<kVector> * rows, reduced.count, outputs, r,
                   x.device(), y, pass);
}

}  // namespace detail

/// y[i] = r over the elements of x (of type T, at least one) that fall together on i of a
/// contiguous tensor of shape `kept`: along the axes where that is 1 and x is not. A reducer's
/// `output` is i.
template <class T, class Out, class R>
void reduce(const Tensor& x, const Shape& kept, const R& r, Out* y) {
  Tensor seen = x;
  const ReduceView v = view_reduction(seen, kept);
  constexpr int kRow = detail::kRowVector<T, R>, kColumn = detail::kColumnVector<T, R>;
  constexpr int64_t kSize = sizeof(T);
  if (v.rows && packs_along(v.reduced, v.kept, seen.data<T>(), kSize, kRow, true))
    detail::launch_rows<kRow, T, Out>(seen, v, r, y);
  else if (v.rows)
    detail::launch_rows<1, T, Out>(seen, v, r, y);
  else if (packs_along(v.kept, v.reduced, seen.data<T>(), kSize, kColumn, false))
    detail::launch_columns<kColumn, T, Out>(seen, v, r, y);
  else
    detail::launch_columns<1, T, Out>(seen, v, r, y);
}

}  // namespace tessera::cuda

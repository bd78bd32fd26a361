#include "ops/index/sort.h"

#include <bit>

#include "ops/index/index_cuda.cuh"

namespace tessera {
namespace {

using namespace index;

// A merge sort. Elements become unsigned keys whose order is the wanted one, and equal keys are
// told apart by their position, so the order is total and the same as the CPU's. Tiles of a column
// are sorted in shared memory and cut to their first k, then runs are merged in pairs, each merge
// cut to k again: a sort of n takes log2(n / kTile) passes over the entries, and where k is small
// the second pass finds little left.

constexpr int kTile = 2048;            // entries sorted in shared memory
constexpr int kMerged = 4 * kThreads;  // entries that a block of a merge writes

/// A key and a position in its column. kPadding sorts behind every entry: no position is that
/// large.
constexpr uint32_t kPadding = 0xFFFFFFFFu;

template <class Key>
struct Entry;
// Compared as one number.
template <>
struct Entry<uint32_t> {
  uint64_t both;
  __device__ static Entry make(uint32_t key, uint32_t at) { return {uint64_t{key} << 32 | at}; }
  __device__ uint32_t at() const { return static_cast<uint32_t>(both); }
  __device__ bool before(const Entry& o) const { return both < o.both; }
};
template <>
struct alignas(16) Entry<uint64_t> {
  uint64_t key;
  uint64_t position;
  __device__ static Entry make(uint64_t key, uint32_t at) { return {key, at}; }
  __device__ uint32_t at() const { return static_cast<uint32_t>(position); }
  __device__ bool before(const Entry& o) const {
    return key != o.key ? key < o.key : position < o.position;
  }
};

template <class T>
using KeyOf = std::conditional_t<sizeof(compute_t<T>) == 8, uint64_t, uint32_t>;

/// Unsigned numbers in the order of the values: zeros of both signs alike, NaN (of any bits) last.
template <class T>
__device__ __forceinline__ KeyOf<T> key_of(const T& element, bool descending) {
  using C = compute_t<T>;
  using Key = KeyOf<T>;
  constexpr Key kSign = Key{1} << (8 * sizeof(Key) - 1);
  const C v = static_cast<C>(element);
  Key key;
  if constexpr (std::is_floating_point_v<C>) {
    const Key bits = std::bit_cast<Key>(v == C(0) ? C(0) : v);
    key = bits & kSign ? ~bits : bits | kSign;
    if (v != v) key = ~Key{0};
  } else if constexpr (std::is_signed_v<C>) {
    key = static_cast<Key>(v) ^ kSign;
  } else {
    key = static_cast<Key>(v);
  }
  return descending ? ~key : key;
}

/// The columns of a contiguous tensor (outer, size, inner) along its middle axis, and where the
/// first k positions of each go: (outer, k, inner).
struct Columns {
  uint32_t count;
  Splitter<uint32_t> inner;
  int64_t size, k;

  __device__ __forceinline__ int64_t place(uint32_t column, int64_t length, int64_t j) const {
    const int64_t outer = inner.split(column);
    return (outer * length + j) * inner.divisor + column;
  }
  __device__ __forceinline__ int64_t element(uint32_t column, int64_t j) const {
    return place(column, size, j);
  }
  __device__ __forceinline__ int64_t result(uint32_t column, int64_t j) const {
    return place(column, k, j);
  }
};

/// Sorted runs of a column's entries, each `length` long but for the last; column c's begin at
/// c * (count - 1) * length + last.
struct Runs {
  int64_t count, length, last;

  TESSERA_HD int64_t per_column() const { return (count - 1) * length + last; }
  TESSERA_HD int64_t size(int64_t run) const { return run + 1 < count ? length : last; }
};

/// Sorts segments of 2^log entries of `tile` (kTile in all) side by side: a bitonic network, each
/// thread exchanging kTile / 2 / kThreads pairs per step. Every thread of the block calls it.
template <class E>
__device__ void sort_tile(E* tile, int segment) {
  for (int size = 2; size <= segment; size *= 2) {
    for (int stride = size / 2; stride > 0; stride /= 2) {
      __syncthreads();
      for (int pair = threadIdx.x; pair < kTile / 2; pair += kThreads) {
        const int i = 2 * pair - (pair & (stride - 1)), j = i + stride;
        const bool ascending = (i & (segment - 1) & size) == 0;
        const E a = tile[i], b = tile[j];
        if (b.before(a) == ascending) {
          tile[i] = b;
          tile[j] = a;
        }
      }
    }
  }
  __syncthreads();
}

// A block sorts kTile / segment tiles of at most `segment` elements, each of one column: short
// columns share a block. It writes the first of each, as many as `runs` says, as entries or, where
// a column has one tile alone, as positions to `indices`. Bytes: x once, entries or positions once.
template <class T>
__global__ void __launch_bounds__(kThreads)
    sort_tiles(Columns columns, Runs runs, Splitter<uint32_t> by_runs, int log_segment,
               bool descending, const T* __restrict__ x, Entry<KeyOf<T>>* __restrict__ entries,
               int64_t* __restrict__ indices) {
  using E = Entry<KeyOf<T>>;
  TESSERA_SHARED_ALIGNED(16, E, tile, [kTile]);
  const int segment = 1 << log_segment;
  const uint32_t tiles = columns.count * by_runs.divisor, per_block = kTile >> log_segment;
  for (uint32_t first = blockIdx.x * per_block; first < tiles; first += gridDim.x * per_block) {
    for (int i = threadIdx.x; i < kTile; i += kThreads) {
      const uint32_t t = first + (static_cast<uint32_t>(i) >> log_segment);
      uint32_t run = t;
      const uint32_t column = by_runs.split(run);
      const int64_t j = int64_t{run} * segment + (i & (segment - 1));
      tile[i] =
          t < tiles && j < columns.size
              ? E::make(key_of(x[columns.element(column, j)], descending), static_cast<uint32_t>(j))
              : E::make(~KeyOf<T>{0}, kPadding);
    }
    sort_tile(&tile[0], segment);
    for (int i = threadIdx.x; i < kTile; i += kThreads) {
      const uint32_t t = first + (static_cast<uint32_t>(i) >> log_segment);
      uint32_t run = t;
      const uint32_t column = by_runs.split(run);
      const int64_t j = i & (segment - 1);
      if (t >= tiles || j >= runs.size(run)) continue;
      if (indices)
        indices[columns.result(column, j)] = tile[i].at();
      else
        entries[column * runs.per_column() + run * runs.length + j] = tile[i];
    }
    __syncthreads();
  }
}

/// How many of the first `rank` entries of two merged runs come from a.
template <class E>
__device__ int64_t merge_path(const E* a, int64_t na, const E* b, int64_t nb, int64_t rank) {
  int64_t low = max(int64_t{0}, rank - nb), high = min(rank, na);
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (a[middle].before(b[rank - 1 - middle]))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

// Merges neighbouring runs in pairs. A block owns kMerged neighbouring entries of one result: it
// finds by bisection which part of either run they come from, loads both to shared memory, puts
// every entry to its place by bisection in the other part, and writes them in order. A run without
// a partner is copied. Bytes: each entry that stays read and written once.
template <class E>
__global__ void __launch_bounds__(kThreads)
    merge_runs(Columns columns, Runs from, Runs to, Splitter<uint32_t> by_pieces,
               Splitter<uint32_t> by_runs, const E* __restrict__ source, E* __restrict__ merged,
               int64_t* __restrict__ indices) {
  TESSERA_SHARED_ALIGNED(16, E, parts, [kMerged]);
  TESSERA_SHARED_ALIGNED(16, E, sorted, [kMerged]);
  TESSERA_SHARED(int64_t, cut, [2]);
  const uint32_t all = columns.count * by_runs.divisor * by_pieces.divisor;
  for (uint32_t e = blockIdx.x; e < all; e += gridDim.x) {
    uint32_t piece = e;
    uint32_t in_column = by_pieces.split(piece);
    const uint32_t column = by_runs.split(in_column);
    const int64_t begin = int64_t{piece} * kMerged, run = in_column;
    const int64_t end = min(begin + kMerged, to.size(run));
    if (begin >= end) continue;
    const E* a = source + column * from.per_column() + 2 * run * from.length;
    const E* b = a + from.length;
    const int64_t na = from.size(2 * run),
                  nb = 2 * run + 1 < from.count ? from.size(2 * run + 1) : 0;
    if (threadIdx.x < 2) cut[threadIdx.x] = merge_path(a, na, b, nb, threadIdx.x ? end : begin);
    __syncthreads();
    const int64_t a0 = cut[0], b0 = begin - a0;
    const int total = static_cast<int>(end - begin), ca = static_cast<int>(cut[1] - a0);
    const int cb = total - ca;
    for (int i = threadIdx.x; i < total; i += kThreads)
      parts[i] = i < ca ? a[a0 + i] : b[b0 + i - ca];
    __syncthreads();
    for (int i = threadIdx.x; i < total; i += kThreads) {
      const E own = parts[i];
      const int other = i < ca ? ca : 0, count = i < ca ? cb : ca;
      int low = 0, high = count;
      while (low < high) {
        const int middle = (low + high) / 2;
        if (parts[other + middle].before(own))
          low = middle + 1;
        else
          high = middle;
      }
      sorted[(i < ca ? i : i - ca) + low] = own;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < total; i += kThreads) {
      if (indices)
        indices[columns.result(column, begin + i)] = sorted[i].at();
      else
        merged[column * to.per_column() + run * to.length + begin + i] = sorted[i];
    }
    __syncthreads();
  }
}

Runs after_merge(const Runs& r, int64_t k) {
  const int64_t pairs = (r.count + 1) / 2;
  const int64_t last = r.count % 2 ? r.last : std::min(k, r.length + r.last);
  return {pairs, pairs == 1 ? last : std::min(k, 2 * r.length), last};
}

template <class T>
void topk_typed(const Tensor& x, const Columns& columns, bool descending, Tensor& indices) {
  using E = Entry<KeyOf<T>>;
  const int64_t k = columns.k;
  const int log_segment = std::bit_width(
      static_cast<uint64_t>(std::min<int64_t>(kTile, columns.size)) - 1);  // 2^log >= size or kTile
  const int64_t segment = int64_t{1} << log_segment;
  const int64_t tiles = (columns.size + segment - 1) / segment;
  TESSERA_CHECK(NotImplementedError, columns.count * tiles <= INT32_MAX - kTile,
                "sort: ", x.shape(), " is too large for this device");
  Runs runs{tiles, std::min(k, segment), std::min(k, columns.size - (tiles - 1) * segment)};
  const auto scratch = [&](const Runs& r) {
    const int64_t words = columns.count * r.per_column() * int64_t{sizeof(E)} / 8;
    return r.count > 1 ? empty({words}, DType::i64, x.device()) : Tensor();
  };
  const auto entries = [](const Tensor& t) {
    return t.defined() ? static_cast<E*>(t.raw_data()) : nullptr;
  };
  const auto positions = [&](const Runs& r) {
    return r.count > 1 ? nullptr : indices.data<int64_t>();
  };
  Tensor source = scratch(runs);
  cuda::launch(sort_tiles<T>, {cuda::grid_for(columns.count * tiles, kTile / segment), kThreads},
               columns, runs, Splitter<uint32_t>(tiles), log_segment, descending, x.data<T>(),
               entries(source), positions(runs));
  while (runs.count > 1) {
    const Runs to = after_merge(runs, k);
    const Tensor merged = scratch(to);
    const int64_t pieces = (to.length + kMerged - 1) / kMerged;
    cuda::launch(merge_runs<E>, {cuda::grid_for(columns.count * to.count * pieces, 1), kThreads},
                 columns, runs, to, Splitter<uint32_t>(pieces), Splitter<uint32_t>(to.count),
                 entries(source), entries(merged), positions(to));
    source = merged;
    runs = to;
  }
}

void topk_cuda(const Tensor& x, int axis, bool descending, Tensor& indices) {
  if (indices.numel() == 0) return;
  const AxisView a = around(x.shape(), axis);
  TESSERA_CHECK(NotImplementedError, a.size < INT32_MAX && a.outer * a.inner < INT32_MAX,
                "sort: ", x.shape(), " along axis ", axis, " is too large for this device");
  const Columns columns{static_cast<uint32_t>(a.outer * a.inner), Splitter<uint32_t>(a.inner),
                        a.size, indices.shape()[axis]};
  dispatch_all(x.dtype(), "topk",
               [&]<class T>() { topk_typed<T>(x, columns, descending, indices); });
}

TESSERA_KERNEL(topk, cuda, topk_cuda);

}  // namespace
}  // namespace tessera

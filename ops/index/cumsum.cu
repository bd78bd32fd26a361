#include "ops/index/cumsum.h"

#include "cuda/scan.cuh"
#include "ops/index/index_cuda.cuh"

namespace tessera {
namespace {

using namespace index;

// The axis is cut into chunks, each summed by threads of its own: totals of the chunks, running
// sums of the totals, then the running sums within each chunk on top of those. With one chunk the
// last pass is all. The cuts depend on the shape alone, so the bits do too. Bytes: x read twice and
// y written once; with one chunk x once.

// Floating dtypes are summed in f64, integers in 64 bits that wrap as theirs would.
template <class T>
using Sum = std::conditional_t<std::is_floating_point_v<compute_t<T>>, double, unsigned long long>;

template <class T>
__device__ __forceinline__ Sum<T> widen(const T& v) {
  return static_cast<Sum<T>>(static_cast<compute_t<T>>(v));
}
template <class T>
__device__ __forceinline__ T narrow(Sum<T> v) {
  return static_cast<T>(static_cast<compute_t<T>>(v));
}

/// A tensor (outer, size, inner), contiguous, and the chunks of its middle axis.
struct Cut {
  int64_t outer, size, inner, chunk, chunks;
  bool reverse;

  /// Element offset of step j of a column; column = outer index * inner + inner index.
  __device__ __forceinline__ int64_t at(int64_t column, int64_t j) const {
    return (column / inner * size + (reverse ? size - 1 - j : j)) * inner + column % inner;
  }
};

// One thread per (chunk, column), columns neighbours: for inner axes long enough to read whole
// sectors. totals is (chunks, columns).
template <class T>
__global__ void __launch_bounds__(kThreads)
    total_columns(Cut cut, const T* __restrict__ x, Sum<T>* __restrict__ totals) {
  const int64_t columns = cut.outer * cut.inner, all = cut.chunks * columns;
  const int64_t step = cut.reverse ? -cut.inner : cut.inner;
  for (int64_t e = first_element<int64_t>(); e < all; e += grid_step<int64_t>()) {
    const int64_t begin = e / columns * cut.chunk, column = e % columns;
    const int64_t count = min(cut.chunk, cut.size - begin);
    const T* from = x + cut.at(column, begin);
    Sum<T> sum = 0;
    for (int64_t j = 0; j < count; ++j) sum += widen(from[j * step]);
    totals[e] = sum;
  }
}
template <class T>
__global__ void __launch_bounds__(kThreads)
    scan_columns(Cut cut, const T* __restrict__ x, const Sum<T>* __restrict__ carry,
                 T* __restrict__ y) {
  const int64_t columns = cut.outer * cut.inner, all = cut.chunks * columns;
  const int64_t step = cut.reverse ? -cut.inner : cut.inner;
  for (int64_t e = first_element<int64_t>(); e < all; e += grid_step<int64_t>()) {
    const int64_t begin = e / columns * cut.chunk, column = e % columns;
    const int64_t count = min(cut.chunk, cut.size - begin), first = cut.at(column, begin);
    Sum<T> sum = carry ? carry[e] : Sum<T>(0);
    for (int64_t j = 0; j < count; ++j) {
      sum += widen(x[first + j * step]);
      y[first + j * step] = narrow<T>(sum);
    }
  }
}

constexpr int kItems = 7;  // per thread; odd, so that threads meet in no bank of shared memory
constexpr int kTile = kItems * kThreads;

// One block per (chunk, column), for short inner axes: tiles of the chunk pass through shared
// memory, so that neighbouring threads read and write neighbouring elements. kScan false: only the
// total.
template <class T, bool kScan>
__global__ void __launch_bounds__(kThreads)
    scan_rows(Cut cut, const T* __restrict__ x, Sum<T>* __restrict__ carry, T* __restrict__ y) {
  TESSERA_SHARED(Sum<T>, tile, [kTile]);
  TESSERA_SHARED(Sum<T>, scratch, [kThreads / 32]);
  const int64_t columns = cut.outer * cut.inner, all = cut.chunks * columns;
  for (int64_t e = blockIdx.x; e < all; e += gridDim.x) {
    const int64_t begin = e / columns * cut.chunk, column = e % columns;
    const int64_t end = min(begin + cut.chunk, cut.size);
    Sum<T> sum = kScan && carry ? carry[e] : Sum<T>(0);
    for (int64_t first = begin; first < end; first += kTile) {
      const int count = static_cast<int>(min(int64_t{kTile}, end - first));
      for (int i = threadIdx.x; i < kTile; i += kThreads)
        tile[i] = i < count ? widen(x[cut.at(column, first + i)]) : Sum<T>(0);
      __syncthreads();
      Sum<T>* mine = tile + threadIdx.x * kItems;
      Sum<T> own = 0;
      TESSERA_UNROLL
      for (int k = 0; k < kItems; ++k) own += mine[k];
      const cuda::BlockScan<Sum<T>> scan = cuda::block_scan(own, scratch);
      if (kScan) {
        own = sum + scan.before;
        TESSERA_UNROLL
        for (int k = 0; k < kItems; ++k) mine[k] = own += mine[k];
        __syncthreads();
        for (int i = threadIdx.x; i < count; i += kThreads)
          y[cut.at(column, first + i)] = narrow<T>(tile[i]);
      }
      sum += scan.total;
      __syncthreads();
    }
    if (!kScan && threadIdx.x == 0) carry[e] = sum;
  }
}

// Turns totals (chunks, columns) into what comes before each chunk; one thread per column.
template <class S>
__global__ void __launch_bounds__(kThreads)
    carry_chunks(int64_t chunks, int64_t columns, S* __restrict__ totals) {
  for (int64_t c = first_element<int64_t>(); c < columns; c += grid_step<int64_t>()) {
    S sum = 0;
    for (int64_t k = 0; k < chunks; ++k) {
      const S own = totals[k * columns + c];
      totals[k * columns + c] = sum;
      sum += own;
    }
  }
}

constexpr int64_t kByColumns = 16;    // shortest inner axis that threads share out
constexpr int64_t kEnough = 1 << 16;  // threads or, by rows, kEnough / kThreads blocks fill a GPU
constexpr int64_t kLeastChunk = 256;  // steps of a thread; a block takes 8 tiles at least
constexpr int64_t kMostChunks = 1 << 10;

Cut cut_axis(const AxisView& a, bool reverse) {
  Cut cut{a.outer, a.size, a.inner, a.size, 1, reverse};
  const bool by_columns = a.inner >= kByColumns;
  const int64_t units = a.outer * a.inner * (by_columns ? 1 : kThreads);
  const int64_t least = by_columns ? kLeastChunk : 8 * kTile;
  const int64_t wanted = std::min((kEnough + units - 1) / units, kMostChunks);
  cut.chunk = std::max(least, (a.size + wanted - 1) / wanted);
  cut.chunks = (a.size + cut.chunk - 1) / cut.chunk;
  return cut;
}

template <class T>
void cumsum_typed(const Tensor& x, const Cut& cut, Tensor& y) {
  const int64_t columns = cut.outer * cut.inner, all = cut.chunks * columns;
  const bool by_columns = cut.inner >= kByColumns;
  const cuda::LaunchConfig threads{cuda::grid_for(all, kThreads), kThreads};
  const cuda::LaunchConfig blocks{cuda::grid_for(all, 1), kThreads};
  const T* from = x.data<T>();
  T* to = y.data<T>();
  Tensor scratch;
  Sum<T>* carry = nullptr;
  if (cut.chunks > 1) {
    scratch = empty({all}, DType::f64, x.device());
    carry = static_cast<Sum<T>*>(scratch.raw_data());
    if (by_columns)
      cuda::launch(total_columns<T>, threads, cut, from, carry);
    else
      cuda::launch(scan_rows<T, false>, blocks, cut, from, carry, to);
    cuda::launch(carry_chunks<Sum<T>>, {cuda::grid_for(columns, kThreads), kThreads}, cut.chunks,
                 columns, carry);
  }
  if (by_columns)
    cuda::launch(scan_columns<T>, threads, cut, from, carry, to);
  else
    cuda::launch(scan_rows<T, true>, blocks, cut, from, carry, to);
}

void cumsum_cuda(const Tensor& x, int axis, bool reverse, Tensor& y) {
  if (y.numel() == 0) return;
  const Cut cut = cut_axis(around(x.shape(), axis), reverse);
  dispatch_number(x.dtype(), "cumsum", [&]<class T>() { cumsum_typed<T>(x, cut, y); });
}

TESSERA_KERNEL(cumsum, cuda, cumsum_cuda);

}  // namespace
}  // namespace tessera

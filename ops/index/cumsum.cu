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

/// A tensor (outer, size, inner), contiguous, and the chunks of its middle axis. A unit of work is
/// a chunk of a column, the columns of one chunk neighbours.
struct Cut {
  uint32_t units;
  Splitter<uint32_t> columns, inner;
  int64_t size, chunk;
  bool reverse;

  struct Unit {
    int64_t begin, end, offset;  // steps of the chunk; element of the column's first step
  };
  __device__ __forceinline__ Unit unit(uint32_t number) const {
    uint32_t column = number;
    const int64_t begin = columns.split(column) * chunk;
    uint32_t within = column;
    const int64_t outer = inner.split(within);
    return {begin, min(begin + chunk, size),
            (outer * size + (reverse ? size - 1 : 0)) * inner.divisor + within};
  }
  /// From one step's element to the next one's.
  __device__ __forceinline__ int64_t step() const {
    return reverse ? -int64_t{inner.divisor} : int64_t{inner.divisor};
  }
};

// One thread per unit: for inner axes long enough to read whole sectors. totals is (chunks,
// columns).
template <class T>
__global__ void __launch_bounds__(kThreads)
    total_columns(Cut cut, const T* __restrict__ x, Sum<T>* __restrict__ totals) {
  const int64_t step = cut.step();
  for (auto u = first_element<uint32_t>(); u < cut.units; u += grid_step<uint32_t>()) {
    const Cut::Unit at = cut.unit(u);
    Sum<T> sum = 0;
    for (int64_t j = at.begin; j < at.end; ++j) sum += widen(x[at.offset + j * step]);
    totals[u] = sum;
  }
}
template <class T>
__global__ void __launch_bounds__(kThreads)
    scan_columns(Cut cut, const T* __restrict__ x, const Sum<T>* __restrict__ carry,
                 T* __restrict__ y) {
  const int64_t step = cut.step();
  for (auto u = first_element<uint32_t>(); u < cut.units; u += grid_step<uint32_t>()) {
    const Cut::Unit at = cut.unit(u);
    Sum<T> sum = carry ? carry[u] : Sum<T>(0);
    for (int64_t j = at.begin; j < at.end; ++j) {
      sum += widen(x[at.offset + j * step]);
      y[at.offset + j * step] = narrow<T>(sum);
    }
  }
}

constexpr int kItems = 7;  // per thread; odd, so that threads meet in no bank of shared memory
constexpr int kTile = kItems * kThreads;

// One block per unit, for short inner axes: tiles of the chunk pass through shared
// memory, so that neighbouring threads read and write neighbouring elements. kScan false: only the
// total.
template <class T, bool kScan>
__global__ void __launch_bounds__(kThreads)
    scan_rows(Cut cut, const T* __restrict__ x, Sum<T>* __restrict__ carry, T* __restrict__ y) {
  TESSERA_SHARED(Sum<T>, tile, [kTile]);
  TESSERA_SHARED(Sum<T>, scratch, [kThreads / 32]);
  const int64_t step = cut.step();
  for (uint32_t u = blockIdx.x; u < cut.units; u += gridDim.x) {
    const Cut::Unit at = cut.unit(u);
    Sum<T> sum = kScan && carry ? carry[u] : Sum<T>(0);
    for (int64_t first = at.begin; first < at.end; first += kTile) {
      const int count = static_cast<int>(min(int64_t{kTile}, at.end - first));
      for (int i = threadIdx.x; i < kTile; i += kThreads)
        tile[i] = i < count ? widen(x[at.offset + (first + i) * step]) : Sum<T>(0);
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
          y[at.offset + (first + i) * step] = narrow<T>(tile[i]);
      }
      sum += scan.total;
      __syncthreads();
    }
    if (!kScan && threadIdx.x == 0) carry[u] = sum;
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

/// Steps of one chunk.
int64_t chunk_of(const AxisView& a) {
  const bool by_columns = a.inner >= kByColumns;
  const int64_t units = a.outer * a.inner * (by_columns ? 1 : kThreads);
  const int64_t wanted = std::min((kEnough + units - 1) / units, kMostChunks);
  return std::max(by_columns ? kLeastChunk : 8 * kTile, (a.size + wanted - 1) / wanted);
}

template <class T>
void cumsum_typed(const T* x, const AxisView& a, bool reverse, Device device, T* y) {
  const int64_t chunk = chunk_of(a), chunks = (a.size + chunk - 1) / chunk;
  const int64_t columns = a.outer * a.inner, units = chunks * columns;
  if (units > INT32_MAX && a.outer > 1) {  // more than the kernels count
    const int64_t half = a.outer / 2, elements = half * a.size * a.inner;
    cumsum_typed(x, {half, a.size, a.inner}, reverse, device, y);
    return cumsum_typed(x + elements, {a.outer - half, a.size, a.inner}, reverse, device,
                        y + elements);
  }
  TESSERA_CHECK(NotImplementedError, units <= INT32_MAX, "cumsum: ", columns,
                " columns are too many for this device");
  const bool by_columns = a.inner >= kByColumns;
  const Cut cut{static_cast<uint32_t>(units),
                Splitter<uint32_t>(columns),
                Splitter<uint32_t>(a.inner),
                a.size,
                chunk,
                reverse};
  const cuda::LaunchConfig threads{cuda::grid_for(units, kThreads), kThreads};
  const cuda::LaunchConfig blocks{cuda::grid_for(units, 1), kThreads};
  Tensor scratch;
  Sum<T>* carry = nullptr;
  if (chunks > 1) {
    scratch = empty({units}, DType::f64, device);
    carry = static_cast<Sum<T>*>(scratch.raw_data());
    if (by_columns)
      cuda::launch(total_columns<T>, threads, cut, x, carry);
    else
      cuda::launch(scan_rows<T, false>, blocks, cut, x, carry, y);
    cuda::launch(carry_chunks<Sum<T>>, {cuda::grid_for(columns, kThreads), kThreads}, chunks,
                 columns, carry);
  }
  if (by_columns)
    cuda::launch(scan_columns<T>, threads, cut, x, carry, y);
  else
    cuda::launch(scan_rows<T, true>, blocks, cut, x, carry, y);
}

void cumsum_cuda(const Tensor& x, int axis, bool reverse, Tensor& y) {
  if (y.numel() == 0) return;
  dispatch_number(x.dtype(), "cumsum", [&]<class T>() {
    cumsum_typed(x.data<T>(), around(x.shape(), axis), reverse, x.device(), y.data<T>());
  });
}

TESSERA_KERNEL(cumsum, cuda, cumsum_cuda);

}  // namespace
}  // namespace tessera

#include "ops/index/nonzero.h"

#include "cuda/scan.cuh"
#include "ops/index/index_cuda.cuh"

namespace tessera {
namespace {

using namespace index;

constexpr int64_t kTile = 16 * kThreads;  // elements of one block

template <class T>
__device__ __forceinline__ bool is_nonzero(const T& v) {
  return static_cast<compute_t<T>>(v) != compute_t<T>(0);
}

// How many elements of a tile are not zero; one block per tile, neighbouring threads neighbouring
// elements. Bytes: x once.
template <class T>
__global__ void __launch_bounds__(kThreads)
    count_tiles(const T* __restrict__ x, int64_t n, int64_t tiles, int64_t* __restrict__ counts) {
  TESSERA_SHARED(int, scratch, [kThreads / 32]);
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t end = min(n, (tile + 1) * kTile);
    int count = 0;
    for (int64_t i = tile * kTile + threadIdx.x; i < end; i += kThreads) count += is_nonzero(x[i]);
    count = cuda::block_reduce(count, cuda::SumOp{}, scratch);
    if (threadIdx.x == 0) counts[tile] = count;
  }
}

// counts of the tiles to what lies in front of each, the sum of all to counts[tiles]. One block.
__global__ void __launch_bounds__(kThreads) scan_counts(int64_t tiles, int64_t* counts) {
  TESSERA_SHARED(unsigned long long, scratch, [kThreads / 32]);
  unsigned long long sum = 0;
  for (int64_t first = 0; first < tiles; first += kThreads) {
    const int64_t i = first + threadIdx.x;
    const auto own = static_cast<unsigned long long>(i < tiles ? counts[i] : 0);
    const auto scan = cuda::block_scan(own, scratch);
    if (i < tiles) counts[i] = static_cast<int64_t>(sum + scan.before);
    sum += scan.total;
  }
  if (threadIdx.x == 0) counts[tiles] = static_cast<int64_t>(sum);
}

// Positions of a tile's elements, in order, from before[tile] on. Bytes: x once, the result once.
template <class T>
__global__ void __launch_bounds__(kThreads)
    write_positions(const T* __restrict__ x, int64_t n, int64_t tiles,
                    const int64_t* __restrict__ before, int64_t* __restrict__ positions) {
  TESSERA_SHARED(int, scratch, [kThreads / 32]);
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t end = min(n, (tile + 1) * kTile);
    int64_t at = before[tile];
    if (at == before[tile + 1]) continue;
    for (int64_t first = tile * kTile; first < end; first += kThreads) {
      const int64_t i = first + threadIdx.x;
      const bool found = i < end && is_nonzero(x[i]);
      const auto scan = cuda::block_scan(static_cast<int>(found), scratch);
      if (found) positions[at + scan.before] = i;
      at += scan.total;
    }
  }
}

Tensor nonzero_flat_cuda(const Tensor& x) {
  const int64_t n = x.numel(), tiles = (n + kTile - 1) / kTile;
  if (n == 0) return empty({0}, DType::i64, x.device());
  Tensor counts = empty({tiles + 1}, DType::i64, x.device());
  int64_t* at = counts.data<int64_t>();
  const cuda::LaunchConfig blocks{cuda::grid_for(tiles, 1), kThreads};
  dispatch_all(x.dtype(), "nonzero",
               [&]<class T>() { cuda::launch(count_tiles<T>, blocks, x.data<T>(), n, tiles, at); });
  cuda::launch(scan_counts, {1, kThreads}, tiles, at);
  int64_t total = 0;
  cuda::copy_to_host(&total, at + tiles, sizeof total);
  Tensor positions = empty({total}, DType::i64, x.device());
  if (total == 0) return positions;
  dispatch_all(x.dtype(), "nonzero", [&]<class T>() {
    cuda::launch(write_positions<T>, blocks, x.data<T>(), n, tiles, at, positions.data<int64_t>());
  });
  return positions;
}

// One thread per position: its coordinates, last axis last. shape is that of the tensor. Bytes: 8
// in, 8 per axis out.
struct Sizes {
  int rank;
  int64_t size[8];
};
__global__ void __launch_bounds__(kThreads)
    write_coordinates(int64_t count, Sizes shape, const int64_t* __restrict__ positions,
                      int64_t* __restrict__ coordinates) {
  for (int64_t e = first_element<int64_t>(); e < count; e += grid_step<int64_t>()) {
    int64_t rest = positions[e];
    for (int d = shape.rank - 1; d >= 0; --d) {
      coordinates[e * shape.rank + d] = rest % shape.size[d];
      rest /= shape.size[d];
    }
  }
}

void unravel_cuda(const Tensor& positions, const Shape& shape, Tensor& coordinates) {
  const int64_t count = positions.numel();
  if (coordinates.numel() == 0) return;
  Sizes sizes{shape.rank(), {}};
  for (int d = 0; d < shape.rank(); ++d) sizes.size[d] = shape[d];
  cuda::launch(write_coordinates, {cuda::grid_for(count, kThreads), kThreads}, count, sizes,
               positions.data<int64_t>(), coordinates.data<int64_t>());
}

// One thread per index sets its one. Bytes: 8 per index in, a sector each out.
template <class T>
__global__ void __launch_bounds__(kThreads)
    set_ones(int64_t count, int64_t classes, const int64_t* __restrict__ index, T one,
             T* __restrict__ y, cuda::FaultReporter faults) {
  for (int64_t e = first_element<int64_t>(); e < count; e += grid_step<int64_t>()) {
    const int64_t at = index[e];
    if (at >= 0 && at < classes)
      y[e * classes + at] = one;
    else
      faults.report(at, classes);
  }
}

void one_hot_cuda(const Tensor& index, int64_t classes, Tensor& y) {
  const int64_t count = index.numel();
  if (count == 0) return;
  dispatch_all(y.dtype(), "one_hot", [&]<class T>() {
    cuda::launch(set_ones<T>, {cuda::grid_for(count, kThreads), kThreads}, count, classes,
                 index.data<int64_t>(), static_cast<T>(1), y.data<T>(),
                 cuda::fault_reporter("one_hot"));
  });
  cuda::look_for_fault();
}

TESSERA_KERNEL(nonzero_flat, cuda, nonzero_flat_cuda);
TESSERA_KERNEL(unravel, cuda, unravel_cuda);
TESSERA_KERNEL(one_hot, cuda, one_hot_cuda);

}  // namespace
}  // namespace tessera

// A stable radix sort of rows by destination: passes over the digits of the key, the lowest first.
// Per pass, blocks count the digits of their tile of rows, the counts become places, and blocks put
// their rows there.

#include "cuda/ordered_scatter.cuh"

#include <bit>

#include "cuda/fault.h"
#include "cuda/reduce.cuh"

namespace tessera::cuda {
namespace {

constexpr int kBlock = 256, kWarps = kBlock / 32;
constexpr int kPerThread = 8, kTile = kBlock * kPerThread;
constexpr int kDigits = 256;  // at most, one per thread

// The sum of v over the threads before this one; `total` over all. scratch: a word per warp.
__device__ __forceinline__ uint32_t sum_before(uint32_t v, uint32_t& total, uint32_t* scratch) {
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  uint32_t sum = v;
  for (int distance = 1; distance < 32; distance *= 2) {
    const uint32_t left = __shfl_up_sync(kFullWarp, sum, distance);
    if (lane >= static_cast<unsigned>(distance)) sum += left;
  }
  __syncthreads();  // scratch may still be read
  if (lane == 31) scratch[warp] = sum;
  __syncthreads();
  uint32_t before = 0;
  total = 0;
  TESSERA_UNROLL
  for (unsigned w = 0; w < kWarps; ++w) {
    if (w == warp) before = total;
    total += scratch[w];
  }
  return before + sum - v;
}

__device__ __forceinline__ uint32_t digit_of(int32_t key, int shift, int digits) {
  return (static_cast<uint32_t>(key) >> shift) & static_cast<uint32_t>(digits - 1);
}

// counts[digit][block] of this block's tile. Bytes: 4 per row.
__global__ void __launch_bounds__(kBlock)
    count_digits(const int32_t* __restrict__ keys, int32_t rows, int shift, int digits,
                 uint32_t* __restrict__ counts) {
  TESSERA_SHARED(uint32_t, seen, [kDigits]);
  seen[threadIdx.x] = 0;
  __syncthreads();
  const int64_t first = int64_t{blockIdx.x} * kTile;
  for (int i = 0; i < kPerThread; ++i) {
    const int64_t row = first + i * kBlock + threadIdx.x;
    if (row < rows) atomicAdd(&seen[digit_of(keys[row], shift, digits)], 1u);
  }
  __syncthreads();
  if (threadIdx.x < static_cast<unsigned>(digits))
    counts[int64_t{threadIdx.x} * gridDim.x + blockIdx.x] = seen[threadIdx.x];
}

// One block per digit: counts become sums over the tiles before, totals[digit] the sum of all.
__global__ void __launch_bounds__(kBlock)
    place_tiles(uint32_t* __restrict__ counts, int32_t tiles, uint32_t* __restrict__ totals) {
  TESSERA_SHARED(uint32_t, scratch, [kWarps]);
  uint32_t* row = counts + int64_t{blockIdx.x} * tiles;
  uint32_t before = 0;
  for (int64_t first = 0; first < tiles; first += kBlock) {
    const int64_t tile = first + threadIdx.x;
    uint32_t total;
    const uint32_t sum = sum_before(tile < tiles ? row[tile] : 0, total, scratch);
    if (tile < tiles) row[tile] = before + sum;
    before += total;
  }
  if (threadIdx.x == 0) totals[blockIdx.x] = before;
}

// A warp owns 32 * kPerThread neighbouring rows of the block's tile and takes 32 of them at a time:
// ballots find the lanes with the same digit, so a row's rank among its digit's is known without
// atomics and the order of rows is kept. Bytes: 8 read and 8 written per row.
__global__ void __launch_bounds__(kBlock)
    place_rows(const int32_t* __restrict__ keys, const int32_t* __restrict__ order, int32_t rows,
               int shift, int bits, const uint32_t* __restrict__ counts,
               const uint32_t* __restrict__ totals, int32_t* __restrict__ keys_out,
               int32_t* __restrict__ order_out) {
  TESSERA_SHARED(uint32_t, seen, [kWarps][kDigits]);
  TESSERA_SHARED(uint32_t, scratch, [kWarps]);
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int digits = 1 << bits;
  for (int w = 0; w < kWarps; ++w) seen[w][threadIdx.x] = 0;
  __syncthreads();
  const int64_t first = int64_t{blockIdx.x} * kTile + warp * (32 * kPerThread);
  int32_t key[kPerThread];
  uint32_t rank[kPerThread];
  TESSERA_UNROLL
  for (int i = 0; i < kPerThread; ++i) {
    const int64_t row = first + i * 32 + lane;
    key[i] = row < rows ? keys[row] : 0;
    rank[i] = 0;
    if (first + i * 32 >= rows) continue;  // the warp as a whole
    const uint32_t digit = digit_of(key[i], shift, digits);
    unsigned peers = __ballot_sync(kFullWarp, row < rows);
    for (int bit = 0; bit < bits; ++bit) {
      const unsigned ones = __ballot_sync(kFullWarp, (digit >> bit) & 1);
      peers &= (digit >> bit) & 1 ? ones : ~ones;
    }
    const unsigned below = peers & ((1u << lane) - 1);
    if (row < rows) rank[i] = seen[warp][digit] + static_cast<uint32_t>(__popc(below));
    __syncwarp();
    if (row < rows && below == 0) seen[warp][digit] += static_cast<uint32_t>(__popc(peers));
    __syncwarp();
  }
  __syncthreads();
  const bool own = threadIdx.x < static_cast<unsigned>(digits);  // a thread per digit
  uint32_t all;
  uint32_t at = sum_before(own ? totals[threadIdx.x] : 0, all, scratch);
  if (own) {
    at += counts[int64_t{threadIdx.x} * gridDim.x + blockIdx.x];
    for (int w = 0; w < kWarps; ++w) {
      const uint32_t count = seen[w][threadIdx.x];
      seen[w][threadIdx.x] = at;
      at += count;
    }
  }
  __syncthreads();
  TESSERA_UNROLL
  for (int i = 0; i < kPerThread; ++i) {
    const int64_t row = first + i * 32 + lane;
    if (row >= rows) continue;
    const uint32_t to = seen[warp][digit_of(key[i], shift, digits)] + rank[i];
    keys_out[to] = key[i];
    order_out[to] = order ? order[row] : static_cast<int32_t>(row);
  }
}

__global__ void __launch_bounds__(kBlock)
    narrow_index(const int64_t* __restrict__ index, int32_t rows, int32_t destinations,
                 FaultReporter fault, int32_t* __restrict__ keys) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t r = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; r < rows; r += step) {
    const int64_t d = index[r];
    const bool valid = d >= 0 && d < destinations;
    if (!valid) fault.report(d, destinations);
    keys[r] = valid ? static_cast<int32_t>(d) : destinations;
  }
}

void check_sizes(int64_t rows, int64_t destinations) {
  TESSERA_CHECK(ValueError, rows < INT32_MAX && destinations < INT32_MAX, "ordered scatter: ", rows,
                " rows to ", destinations, " destinations; both must be below 2^31 - 1");
}

}  // namespace

RowOrder order_rows(const Tensor& given, int64_t destinations) {
  const int64_t rows = given.numel();
  check_sizes(rows, destinations);
  const Device device = given.device();
  RowOrder from{given, Tensor(), rows, destinations};
  if (rows == 0) return from;
  RowOrder to{empty({rows}, DType::i32, device), empty({rows}, DType::i32, device), rows,
              destinations};
  const int64_t tiles = (rows + kTile - 1) / kTile;
  const Tensor counts = empty({kDigits, tiles + 1}, DType::i32, device);
  auto* count = reinterpret_cast<uint32_t*>(counts.data<int32_t>());
  uint32_t* totals = count + kDigits * tiles;
  // Digits of equal length: as few passes as 8 bits at a time allow.
  const int width = std::bit_width(static_cast<uint32_t>(destinations));
  const int passes = std::max(1, (width + 7) / 8),
            bits = std::max(1, (width + passes - 1) / passes);
  const auto blocks = static_cast<unsigned>(tiles);
  for (int pass = 0; pass < passes; ++pass) {
    const int shift = pass * bits;
    const auto n = static_cast<int32_t>(rows);
    const int32_t *keys = from.keys.data<int32_t>(),
                  *order = from.order.defined() ? from.order.data<int32_t>() : nullptr;
    launch(count_digits, {blocks, kBlock}, keys, n, shift, 1 << bits, count);
    launch(place_tiles, {1u << bits, kBlock}, count, static_cast<int32_t>(tiles), totals);
    launch(place_rows, {blocks, kBlock}, keys, order, n, shift, bits, count, totals,
           to.keys.data<int32_t>(), to.order.data<int32_t>());
    std::swap(from, to);
    if (!to.order.defined()) to.order = empty({rows}, DType::i32, device);
  }
  return from;
}

RowOrder order_rows(const int64_t* index, int64_t rows, int64_t destinations, const char* op) {
  check_sizes(rows, destinations);
  const Tensor keys = empty({rows}, DType::i32, {DeviceType::cuda, current_device()});
  if (rows > 0) {
    launch(narrow_index, {grid_for(rows, kBlock), kBlock}, index, static_cast<int32_t>(rows),
           static_cast<int32_t>(destinations), fault_reporter(op), keys.data<int32_t>());
    look_for_fault();
  }
  return order_rows(keys, destinations);
}

}  // namespace tessera::cuda

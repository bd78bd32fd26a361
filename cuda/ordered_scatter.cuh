#pragma once

#include <algorithm>
#include <cstdint>

#include "cuda/index.h"
#include "cuda/launch.h"
#include "cuda/map.cuh"
#include "tensor/tensor.h"

/// Adding rows to destinations that may repeat, without float atomics: the rows are sorted by
/// destination, and each destination's are added up in an order that only the sizes decide. So the
/// result has the same bits every time.
///
///   const RowOrder order = order_rows(index, rows, destinations, "index_add");
///   add_ordered(order, outer, channels, RowSource<T>{src, rows, channels}, out);
namespace tessera::cuda {

/// Rows sorted by destination, those of one destination ascending.
struct RowOrder {
  Tensor keys, order;  // i32 (rows): the destinations in ascending order; the rows that go there
  int64_t rows = 0, destinations = 0;
};

/// keys: i32 (rows) on the device, the destination of each row; `destinations` itself marks a row
/// that goes nowhere. They are overwritten. Throws ValueError for more than 2^31 - 65 rows or
/// destinations. Bytes: 20 per row for each 8 bits of a destination.
RowOrder order_rows(const Tensor& keys, int64_t destinations);

/// The same for an i64 index. A value outside [0, destinations) is reported as `op`'s.
RowOrder order_rows(const int64_t* index, int64_t rows, int64_t destinations, const char* op);

/// Row r as it lies in data (batch, rows, channels).
template <class T>
struct RowSource {
  const T* data;
  int64_t rows, channels;

  bool packs(int vector) const {
    return reinterpret_cast<uintptr_t>(data) % (sizeof(T) * static_cast<size_t>(vector)) == 0;
  }
  template <int kVector>
  __device__ __forceinline__ detail::Pack<compute_t<T>, kVector> load(int64_t batch, int32_t row,
                                                                      int64_t channel) const {
    const auto from = *reinterpret_cast<const detail::Pack<T, kVector>*>(
        data + (batch * rows + row) * channels + channel);
    detail::Pack<compute_t<T>, kVector> wide;
    TESSERA_UNROLL
    for (int k = 0; k < kVector; ++k) wide.v[k] = detail::widened(from.v[k]);
    return wide;
  }
};

/// Row r is weight[r] times row r / kTimes of data (rows / kTimes, channels).
template <class T, int kTimes>
struct WeightedRowSource {
  const T* data;
  const compute_t<T>* weight;
  int64_t channels;

  bool packs(int vector) const { return RowSource<T>{data, 0, 0}.packs(vector); }
  template <int kVector>
  __device__ __forceinline__ detail::Pack<compute_t<T>, kVector> load(int64_t, int32_t row,
                                                                      int64_t channel) const {
    auto values = RowSource<T>{data, 0, channels}.template load<kVector>(0, row / kTimes, channel);
    const compute_t<T> w = weight[row];
    TESSERA_UNROLL
    for (int k = 0; k < kVector; ++k) values.v[k] *= w;
    return values;
  }
};

namespace detail {

inline constexpr int kScatterBlock = 256;

/// The sorted rows cut into chunks of equal length; a thread's work is one chunk and one group of
/// channels.
struct ScatterLayout {
  int32_t rows, destinations, chunk, chunks;
  Divider packs, per_batch;  // groups of channels; packs * chunks
  int64_t channels, first_batch;

  struct Place {
    int64_t batch;
    int32_t chunk;
    int64_t channel;
  };
  template <int kVector>
  __device__ __forceinline__ Place place(uint32_t work) const {
    Place p;
    uint32_t rest = work;
    p.batch = first_batch + per_batch.split(rest);
    p.chunk = static_cast<int32_t>(packs.split(rest));
    p.channel = int64_t{rest} * kVector;
    return p;
  }
};

/// out += sum, kVector neighbours.
template <int kVector, class T, class C>
__device__ __forceinline__ void add_pack(T* out, const Pack<C, kVector>& sum) {
  auto values = *reinterpret_cast<const Pack<T, kVector>*>(out);
  TESSERA_UNROLL
  for (int k = 0; k < kVector; ++k)
    values.v[k] = static_cast<T>(static_cast<C>(values.v[k]) + sum.v[k]);
  *reinterpret_cast<Pack<T, kVector>*>(out) = values;
}

/// A thread adds up the runs of equal destinations in its chunk, one after the other. A run that
/// lies in the chunk as a whole goes to out; the part of one that began before goes to head, of one
/// that goes on behind to tail, both (batch, chunks, channels). Four rows are under way at a time.
/// Any channels and rows: kVector is 1 where channels are no multiple of it. Bytes: the rows once,
/// 8 per row and group of channels (cached), out once per destination, twice.
template <int kVector, class T, class Source>
__global__ void __launch_bounds__(kScatterBlock)
    add_chunks(uint32_t work, ScatterLayout at, const int32_t* __restrict__ keys,
               const int32_t* __restrict__ order, Source source, T* out, compute_t<T>* head,
               compute_t<T>* tail) {
  using C = compute_t<T>;
  constexpr int kAhead = 4;
  const uint32_t step = gridDim.x * blockDim.x;
  for (uint32_t w = blockIdx.x * blockDim.x + threadIdx.x; w < work; w += step) {
    const ScatterLayout::Place p = at.place<kVector>(w);
    const int32_t first = p.chunk * at.chunk, end = min(first + at.chunk, at.rows);
    const int32_t before = first > 0 ? keys[first - 1] : -1, after = end < at.rows ? keys[end] : -1;
    const int64_t part = ((p.batch - at.first_batch) * at.chunks + p.chunk) * at.channels;
    int32_t current = keys[first];
    Pack<C, kVector> sum{};
    const auto finish = [&](bool goes_on) {
      if (current < 0 || current >= at.destinations) return;
      if (current == before)
        *reinterpret_cast<Pack<C, kVector>*>(head + part + p.channel) = sum;
      else if (goes_on)
        *reinterpret_cast<Pack<C, kVector>*>(tail + part + p.channel) = sum;
      else
        add_pack<kVector>(out + (p.batch * at.destinations + current) * at.channels + p.channel,
                          sum);
    };
    for (int32_t i = first; i < end; i += kAhead) {  // a chunk is a multiple of kAhead
      int32_t key[kAhead];
      Pack<C, kVector> value[kAhead];
      TESSERA_UNROLL
      for (int u = 0; u < kAhead; ++u) {
        key[u] = i + u < end ? keys[i + u] : -1;
        value[u] = {};
        if (key[u] >= 0 && key[u] < at.destinations)
          value[u] = source.template load<kVector>(p.batch, order[i + u], p.channel);
      }
      TESSERA_UNROLL
      for (int u = 0; u < kAhead; ++u) {
        if (key[u] != current) {
          finish(false);
          current = key[u];
          sum = value[u];
        } else {
          TESSERA_UNROLL
          for (int k = 0; k < kVector; ++k) sum.v[k] += value[u].v[k];
        }
      }
    }
    finish(current == after);
  }
}

/// Puts the runs together that several chunks share: the thread of the chunk in which one begins
/// adds the parts in order.
template <int kVector, class T>
__global__ void __launch_bounds__(kScatterBlock)
    join_chunks(uint32_t work, ScatterLayout at, const int32_t* __restrict__ keys, T* out,
                const compute_t<T>* __restrict__ head, const compute_t<T>* __restrict__ tail) {
  using P = Pack<compute_t<T>, kVector>;
  const uint32_t step = gridDim.x * blockDim.x;
  for (uint32_t w = blockIdx.x * blockDim.x + threadIdx.x; w < work; w += step) {
    const ScatterLayout::Place p = at.place<kVector>(w);
    const int32_t first = p.chunk * at.chunk;
    if (p.chunk + 1 >= at.chunks) continue;
    const int32_t end = first + at.chunk, key = keys[end - 1];
    if (key >= at.destinations || keys[end] != key || (first > 0 && keys[first - 1] == key))
      continue;
    int32_t last = p.chunk + 1, past = at.chunks;  // the last chunk that begins in the run
    while (past - last > 1) {
      const int32_t middle = last + (past - last) / 2;
      (keys[middle * at.chunk] == key ? last : past) = middle;
    }
    const int64_t parts = (p.batch - at.first_batch) * at.chunks;
    P sum = *reinterpret_cast<const P*>(tail + (parts + p.chunk) * at.channels + p.channel);
    for (int32_t j = p.chunk + 1; j <= last; ++j) {
      const P more = *reinterpret_cast<const P*>(head + (parts + j) * at.channels + p.channel);
      TESSERA_UNROLL
      for (int k = 0; k < kVector; ++k) sum.v[k] += more.v[k];
    }
    add_pack<kVector>(out + (p.batch * at.destinations + key) * at.channels + p.channel, sum);
  }
}

/// Rows per chunk, a multiple of 4. Long chunks need little memory for their ends; short ones give
/// few rows to enough threads, and neighbours in a warp their part of one cache line where there
/// are few channels.
inline int64_t chunk_length(int64_t rows, int64_t packs, int64_t batch) {
  int64_t chunk = 4;
  const int64_t longest = packs >= 8 ? 64 : 8;
  while (chunk < longest && batch * packs * rows / (2 * chunk) >= (1 << 18)) chunk *= 2;
  return chunk;
}

template <int kVector, class T, class Source>
void add_in_chunks(const RowOrder& sorted, int64_t batch, int64_t channels, const Source& source,
                   T* out, int64_t chunk) {
  using C = compute_t<T>;
  const int64_t packs = channels / kVector;
  const int64_t chunks = (sorted.rows + chunk - 1) / chunk;
  TESSERA_CHECK(ValueError, chunks * packs <= INT32_MAX, "add_ordered: ", sorted.rows, " rows of ",
                channels, " channels are too many");
  const int64_t at_once = std::min(batch, INT32_MAX / (chunks * packs));
  const Device device = sorted.keys.device();
  const Tensor ends = empty({2, at_once, chunks, channels}, dtype_of<C>(), device);
  C *head = ends.data<C>(), *tail = head + at_once * chunks * channels;
  const int32_t *keys = sorted.keys.data<int32_t>(), *order = sorted.order.data<int32_t>();
  for (int64_t first = 0; first < batch; first += at_once) {
    const int64_t work = std::min(at_once, batch - first) * chunks * packs;
    const ScatterLayout at{static_cast<int32_t>(sorted.rows),
                           static_cast<int32_t>(sorted.destinations),
                           static_cast<int32_t>(chunk),
                           static_cast<int32_t>(chunks),
                           Divider(packs),
                           Divider(chunks * packs),
                           channels,
                           first};
    const LaunchConfig config{grid_for(work, kScatterBlock), kScatterBlock};
    launch(add_chunks<kVector, T, Source>, config, static_cast<uint32_t>(work), at, keys, order,
           source, out, head, tail);
    if (chunks > 1)
      launch(join_chunks<kVector, T>, config, static_cast<uint32_t>(work), at, keys, out, head,
             tail);
  }
}

}  // namespace detail

/// out[b, d] += the sum of source's rows r with destination d, in ascending order of r but for
/// where chunks of the sorted rows end: a few sums of parts. out (batch, destinations, channels),
/// contiguous, holds the initial values. Half types are added up in float. chunk: rows that a
/// thread adds up at most, a multiple of 4; 0 leaves it to the sizes.
template <class T, class Source>
void add_ordered(const RowOrder& sorted, int64_t batch, int64_t channels, const Source& source,
                 T* out, int64_t chunk = 0) {
  if (sorted.rows == 0 || batch == 0 || channels == 0 || sorted.destinations == 0) return;
  constexpr int kVector = std::clamp(16 / static_cast<int>(sizeof(T)), 1, 8);
  const bool packs = channels % kVector == 0 && source.packs(kVector) &&
                     reinterpret_cast<uintptr_t>(out) % (sizeof(T) * kVector) == 0;
  if (chunk == 0)
    chunk = detail::chunk_length(sorted.rows, packs ? channels / kVector : channels, batch);
  if (packs)
    detail::add_in_chunks<kVector>(sorted, batch, channels, source, out, chunk);
  else
    detail::add_in_chunks<1>(sorted, batch, channels, source, out, chunk);
}

}  // namespace tessera::cuda

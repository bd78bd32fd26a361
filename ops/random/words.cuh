#pragma once

#include "cuda/launch.h"
#include "cuda/map.cuh"
#include "ops/random/random.h"

/// Random words on the GPU, the counterpart of ops/random/words_cpu.h.
namespace tessera::cuda {

inline constexpr int kDrawBlock = 256;

template <class T, int kCount>
using Group = detail::Pack<T, kCount>;

/// kCount neighbours at `p`, of which `left` are there; the others are zero.
template <int kCount, class T>
__device__ __forceinline__ Group<T, kCount> load_group(const T* p, int64_t left, bool aligned) {
  if (aligned && left >= kCount) return *reinterpret_cast<const Group<T, kCount>*>(p);
  Group<T, kCount> out;
  TESSERA_UNROLL
  for (int k = 0; k < kCount; ++k) out.v[k] = k < left ? p[k] : T(0);
  return out;
}

template <int kCount, class T>
__device__ __forceinline__ void store_group(const Group<T, kCount>& v, T* p, int64_t left,
                                            bool aligned) {
  if (aligned && left >= kCount) {
    *reinterpret_cast<Group<T, kCount>*>(p) = v;
    return;
  }
  TESSERA_UNROLL
  for (int k = 0; k < kCount; ++k)
    if (k < left) p[k] = v.v[k];
}

template <int kCount, class T>
bool group_aligned(const T* p) {
  return reinterpret_cast<uintptr_t>(p) % (sizeof(T) * kCount) == 0;
}

/// A thread makes the kCount elements of y that one Philox block serves, and more groups a grid's
/// stride away. make(words, first, left) gives the group that starts at element `first`, `left`
/// elements before y's end; what lies behind the end is not stored. y has n elements. Reads nothing
/// itself and writes y once, 16 bytes of f32, f64 or i64 at a time; some 30 integer operations an
/// element stay below what the writing takes.
template <int kCount, class T, class Make>
__global__ void __launch_bounds__(kDrawBlock, 1)
    draw_kernel(RandomDraw draw, int64_t n, bool aligned, Make make, T* __restrict__ y) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  int64_t group = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  for (; group * kCount < n; group += step) {
    const Philox::Words words =
        Philox::block(draw.seed, draw.block + static_cast<uint64_t>(group), draw.stream);
    const int64_t first = group * kCount, left = n - first;
    store_group<kCount>(make(words.v, first, left), y + first, left, aligned);
  }
}

/// Fills y (contiguous, of element type T): `kPerElement` words serve one element.
template <int kPerElement, class T, class Make>
void draw(const RandomDraw& from, const Make& make, Tensor& y) {
  constexpr int kCount = 4 / kPerElement;
  const int64_t n = y.numel();
  if (n == 0) return;
  T* out = y.data<T>();
  launch(draw_kernel<kCount, T, Make>, {grid_for(n, kDrawBlock * kCount), kDrawBlock}, from, n,
         group_aligned<kCount>(out), make, out);
}

}  // namespace tessera::cuda

#pragma once

#include <algorithm>

#include "cuda/fault.h"
#include "cuda/index.h"
#include "cuda/launch.h"
#include "ops/index/axis.h"
#include "tensor/strided_loop.h"

/// What the index operators' CUDA kernels share. They move data and compute nothing, so they run on
/// words: as many bytes at once as sizes, strides and addresses allow.
namespace tessera::index {

inline constexpr int kThreads = 256;

struct alignas(16) Word16 {
  uint64_t low, high;
};

/// The widest word, of 1 to 16 bytes, that divides every number or'ed into `bits` (lengths, strides
/// and addresses in bytes; negative ones too).
inline int64_t word_bytes(uint64_t bits) {
  const uint64_t all = bits | 16;
  return static_cast<int64_t>(all & (~all + 1));
}
inline uint64_t address_bits(const void* p) { return reinterpret_cast<uintptr_t>(p); }

/// Calls fn.operator()<Word>() for a width that word_bytes() gave.
template <class Fn>
void dispatch_word(int64_t bytes, Fn&& fn) {
  switch (bytes) {
    case 16:
      return fn.template operator()<Word16>();
    case 8:
      return fn.template operator()<uint64_t>();
    case 4:
      return fn.template operator()<uint32_t>();
    case 2:
      return fn.template operator()<uint16_t>();
    default:
      return fn.template operator()<uint8_t>();
  }
}

/// Calls fn.operator()<I>() with the type that counts to `count`: uint32_t below 2^31, where
/// divisions are multiplications, or uint64_t.
template <class Fn>
void dispatch_counter(int64_t count, Fn&& fn) {
  if (count <= INT32_MAX)
    fn.template operator()<uint32_t>();
  else
    fn.template operator()<uint64_t>();
}

/// Division by a number that is the same for a whole launch.
template <class I>
struct Splitter {
  I divisor = 1;
  Splitter() = default;
  explicit Splitter(int64_t d) : divisor(static_cast<I>(d)) {}
  /// n / divisor; n becomes the remainder.
  TESSERA_HD I split(I& n) const {
    const I quotient = n / divisor;
    n -= quotient * divisor;
    return quotient;
  }
};
template <>
struct Splitter<uint32_t> : cuda::Divider {
  using cuda::Divider::Divider;
};

/// Where the elements of a shape lie in kOperands tensors.
template <int kOperands, class I>
struct Offsets {
  int rank = 0;
  Splitter<I> axis[8];
  int64_t strides[kOperands][8];

  explicit Offsets(const StridedLoop<kOperands>& loop) : rank(loop.shape.rank()) {
    for (int d = 0; d < rank; ++d) {
      axis[d] = Splitter<I>(loop.shape[d]);
      for (int i = 0; i < kOperands; ++i) strides[i][d] = loop.strides[i][d];
    }
  }
  __device__ __forceinline__ void at(I element, int64_t (&offset)[kOperands]) const {
    TESSERA_UNROLL
    for (int i = 0; i < kOperands; ++i) offset[i] = 0;
    for (int d = rank - 1; d >= 0; --d) {
      I coordinate = element;
      element = axis[d].split(coordinate);
      TESSERA_UNROLL
      for (int i = 0; i < kOperands; ++i)
        offset[i] += static_cast<int64_t>(coordinate) * strides[i][d];
    }
  }
};

/// The first element of this thread in a loop over all threads of a grid, and the step of that
/// loop.
template <class I>
__device__ __forceinline__ I first_element() {
  return static_cast<I>(blockIdx.x) * blockDim.x + threadIdx.x;
}
template <class I>
__device__ __forceinline__ I grid_step() {
  return static_cast<I>(gridDim.x) * blockDim.x;
}

}  // namespace tessera::index

#pragma once

#include "cuda/map.cuh"
#include "cuda/reduce.cuh"

/// For kernels that treat each row of a contiguous matrix by itself, several times over: softmax
/// and the like. A group of neighbouring threads owns a row and keeps it in registers where it
/// fits, so that memory is read once.
namespace tessera::cuda {

inline constexpr int kRowBlock = 256;
inline constexpr int kRowPacks = 4;  // that a thread keeps

/// How rows of n elements are shared out: see for_rows().
struct RowGroups {
  int64_t rows, n;
  int group;  // threads per row, a power of two up to kRowBlock

  /// `vector` elements to a pack. Fewer packs per thread where rows are too few to fill a GPU.
  RowGroups(int64_t rows_, int64_t n_, int vector) : rows(rows_), n(n_), group(1) {
    while (group < kRowBlock && (int64_t{group} * kRowPacks * vector < n ||
                                 (int64_t{group} * vector < n && rows * group < int64_t{1} << 17)))
      group *= 2;
  }
  bool fits(int vector) const { return int64_t{group} * kRowPacks * vector >= n; }
  LaunchConfig config() const { return {grid_for(rows, kRowBlock / group), kRowBlock}; }
};

/// Whether rows of n elements can be read in packs of `vector` from all of these.
template <class... T>
bool rows_pack(int64_t n, int vector, const T*... data) {
  return n % vector == 0 &&
         ((reinterpret_cast<uintptr_t>(data) % (sizeof(T) * vector) == 0) && ...);
}

/// Calls body(row, lane) in blocks of kRowBlock threads until all rows are done. Every thread of
/// the block calls it the same number of times, so that it may synchronise; row >= rows beyond the
/// end.
template <class Body>
__device__ __forceinline__ void for_rows(const RowGroups& at, const Body& body) {
  const int64_t per_block = kRowBlock / at.group;
  const int lane = static_cast<int>(threadIdx.x) % at.group;
  for (int64_t base = blockIdx.x * per_block; base < at.rows; base += gridDim.x * per_block)
    body(base + threadIdx.x / static_cast<unsigned>(at.group), lane);
}

/// A thread's packs of a row of n elements: lane, lane + group, ... With kKept, which needs
/// RowGroups::fits, they are read once and stay in registers.
template <int kVector, bool kKept, class T>
struct RowPacks {
  using Elements = detail::Pack<T, kVector>;
  const T* row;
  int n, lane, group;
  Elements kept[kKept ? kRowPacks : 1];

  __device__ __forceinline__ RowPacks(const T* p, int64_t count, int first, int step)
      : row(p), n(static_cast<int>(count)), lane(first), group(step) {
    if constexpr (kKept) {
      TESSERA_UNROLL
      for (int k = 0; k < kRowPacks; ++k)
        if ((lane + k * group) * kVector < n) kept[k] = load((lane + k * group) * kVector);
    }
  }
  __device__ __forceinline__ Elements load(int at) const {
    return detail::load_pack<kVector>(row + at, 1);
  }
  /// f(pack, index of its first element) for each pack, in order.
  template <class F>
  __device__ __forceinline__ void packs(const F& f) const {
    if constexpr (kKept) {
      TESSERA_UNROLL
      for (int k = 0; k < kRowPacks; ++k)
        if ((lane + k * group) * kVector < n) f(kept[k], (lane + k * group) * kVector);
    } else {
      for (int at = lane * kVector; at < n; at += group * kVector) f(load(at), at);
    }
  }
  template <class F>
  __device__ __forceinline__ void both(const RowPacks& other, const F& f) const {
    if constexpr (kKept) {
      TESSERA_UNROLL
      for (int k = 0; k < kRowPacks; ++k)
        if ((lane + k * group) * kVector < n)
          f(kept[k], other.kept[k], (lane + k * group) * kVector);
    } else {
      for (int at = lane * kVector; at < n; at += group * kVector) f(load(at), other.load(at), at);
    }
  }
  /// f(element, its index) for each element.
  template <class F>
  __device__ __forceinline__ void each(const F& f) const {
    packs([&](const Elements& p, int at) {
      TESSERA_UNROLL
      for (int k = 0; k < kVector; ++k) f(detail::widened(p.v[k]), at + k);
    });
  }
  /// f(element, other's element, their index), where both are of the same row.
  template <class F>
  __device__ __forceinline__ void with(const RowPacks& other, const F& f) const {
    both(other, [&](const Elements& p, const Elements& q, int at) {
      TESSERA_UNROLL
      for (int k = 0; k < kVector; ++k) f(detail::widened(p.v[k]), detail::widened(q.v[k]), at + k);
    });
  }
  /// y[i] = f(element, other's element, i).
  template <class Out, class F>
  __device__ __forceinline__ void write_with(const RowPacks& other, Out* y, const F& f) const {
    both(other, [&](const Elements& p, const Elements& q, int at) {
      detail::Pack<Out, kVector> out;
      TESSERA_UNROLL
      for (int k = 0; k < kVector; ++k)
        out.v[k] = static_cast<Out>(f(detail::widened(p.v[k]), detail::widened(q.v[k]), at + k));
      *reinterpret_cast<detail::Pack<Out, kVector>*>(y + at) = out;
    });
  }
  /// y[i] = f(element, i).
  template <class Out, class F>
  __device__ __forceinline__ void write(Out* y, const F& f) const {
    packs([&](const Elements& p, int at) {
      detail::Pack<Out, kVector> out;
      TESSERA_UNROLL
      for (int k = 0; k < kVector; ++k)
        out.v[k] = static_cast<Out>(f(detail::widened(p.v[k]), at + k));
      *reinterpret_cast<detail::Pack<Out, kVector>*>(y + at) = out;
    });
  }
};

/// Calls run.template operator()<kVector, kKept>(groups) with what fits rows of n elements;
/// `packed` as rows_pack() says for packs of kVector. n < 2^31.
template <int kVector, class Run>
void with_row_groups(int64_t rows, int64_t n, bool packed, const Run& run) {
  const RowGroups packs(rows, n, kVector), singles(rows, n, 1);
  if (packed && packs.fits(kVector))
    run.template operator()<kVector, true>(packs);
  else if (packed)
    run.template operator()<kVector, false>(packs);
  else if (singles.fits(1))
    run.template operator()<1, true>(singles);
  else
    run.template operator()<1, false>(singles);
}

}  // namespace tessera::cuda

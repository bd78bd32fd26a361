#include "ops/norm/softmax.h"

#include "cuda/reduce_tensor.cuh"
#include "cuda/rows.cuh"
#include "ops/reduce/online_sum.cuh"

namespace tessera {
namespace {

using namespace cuda;

constexpr int kBlock = cuda::detail::kReduceBlock;

template <class C>
struct Merge {
  __device__ __forceinline__ void merge(OnlineSum<C>& a, const OnlineSum<C>& b) const {
    a.merge(b);
  }
  __device__ __forceinline__ OnlineSum<C> operator()(OnlineSum<C> a, const OnlineSum<C>& b) const {
    a.merge(b);
    return a;
  }
};

// exp(x - top) / sum or its logarithm.
template <class C>
struct Normalize {
  C top, term;  // 1 / sum or log sum
  bool log;
  __device__ __forceinline__ Normalize(const OnlineSum<C>& s, bool take_log)
      : top(s.top),
        term(take_log ? math::log(s.strict_sum()) : C(1) / s.strict_sum()),
        log(take_log) {}
  __device__ __forceinline__ C operator()(C v) const {
    return log ? (v - top) - term : math::exp(v - top) * term;
  }
};

// Softmax of rows, with an online maximum and sum. A group of threads owns a row (RowGroups); rows
// that fit are read once (2 * size * sizeof(T) bytes of traffic), longer ones twice.
template <int kVector, bool kKept, class T>
__global__ void __launch_bounds__(kRowBlock, 1)
    softmax_rows(const T* x, RowGroups at, bool log, T* y) {
  using C = compute_t<T>;
  TESSERA_SHARED(OnlineSum<C>, scratch, [kRowBlock / 32]);
  for_rows(at, [&](int64_t row, int lane) {
    const bool inside = row < at.rows;
    const RowPacks<kVector, kKept, T> r(x + row * at.n, inside ? at.n : 0, lane, at.group);
    OnlineSum<C> s = OnlineSum<C>::none();
    r.each([&](C v, int) { s.add(v); });
    const Normalize<C> f(group_reduce(s, at.group, Merge<C>{}, scratch), log);
    r.write(y + row * at.n, [&](C v, int) { return f(v); });
  });
}

// Softmax along the middle axis of (outer, size, inner). Blocks of 256 threads, `width` (a power of
// two) side by side, each with kVector neighbours of one outer index, the others behind one another
// along `size`: every thread sums its share, the sums are merged by halves, and each thread writes
// its share. x is read twice, y written once.
template <int kVector, class T>
__global__ void __launch_bounds__(kBlock, 1)
    softmax_columns(const T* x, int64_t packs, int64_t size, int64_t inner, int width, bool log,
                    T* y) {
  using C = compute_t<T>;
  TESSERA_SHARED(OnlineSum<C>, scratch, [kVector][kBlock / 2]);
  const int column = static_cast<int>(threadIdx.x) % width;
  const int first = static_cast<int>(threadIdx.x) / width, step = kBlock / width;
  for (int64_t base = int64_t{blockIdx.x} * width; base < packs;
       base += int64_t{gridDim.x} * width) {
    const int64_t begin = (base + column) * kVector;
    const int64_t at = begin / inner * size * inner + begin % inner;
    const int64_t rows = base + column < packs ? size : 0;
    OnlineSum<C> s[kVector];
    TESSERA_UNROLL
    for (int k = 0; k < kVector; ++k) s[k] = OnlineSum<C>::none();
    for (int64_t i = first; i < rows; i += step) {
      const auto p = cuda::detail::load_pack<kVector>(x + at + i * inner, 1);
      TESSERA_UNROLL
      for (int k = 0; k < kVector; ++k) s[k].add(static_cast<C>(p.v[k]));
    }
    cuda::detail::merge_block_rows(Merge<C>{}, s, first, step, width, scratch);
    if (step > 1) {
      if (first == 0) {
        TESSERA_UNROLL
        for (int k = 0; k < kVector; ++k) scratch[k][column] = s[k];
      }
      __syncthreads();
      TESSERA_UNROLL
      for (int k = 0; k < kVector; ++k) s[k] = scratch[k][column];
      __syncthreads();
    }
    for (int64_t i = first; i < rows; i += step) {
      const auto p = cuda::detail::load_pack<kVector>(x + at + i * inner, 1);
      cuda::detail::Pack<T, kVector> out;
      TESSERA_UNROLL
      for (int k = 0; k < kVector; ++k)
        out.v[k] = static_cast<T>(Normalize<C>(s[k], log)(static_cast<C>(p.v[k])));
      *reinterpret_cast<cuda::detail::Pack<T, kVector>*>(y + at + i * inner) = out;
    }
  }
}

template <int kVector, class T>
void run_columns(const T* x, int64_t outer, int64_t size, int64_t inner, bool log, T* y) {
  const int64_t packs = outer * (inner / kVector);
  const int width = cuda::detail::column_width(packs, size);
  launch(softmax_columns<kVector, T>, {grid_for(packs, width), kBlock}, x, packs, size, inner,
         width, log, y);
}

void softmax_cuda(const Tensor& x, int64_t outer, int64_t size, int64_t inner, bool log,
                  Tensor& y) {
  if (x.numel() == 0) return;
  dispatch_floating(x.dtype(), "softmax", [&]<class T>() {
    const T* from = x.data<T>();
    T* to = y.data<T>();
    if (inner == 1 && size < INT32_MAX / 2) {
      constexpr int kVector = cuda::detail::kMapVector<T>;
      return with_row_groups<kVector>(outer, size, rows_pack(size, kVector, from, to),
                                      [&]<int kWidth, bool kKept>(const RowGroups& at) {
                                        launch(softmax_rows<kWidth, kKept, T>, at.config(), from,
                                               at, log, to);
                                      });
    }
    constexpr int kVector = std::min(4, cuda::detail::kMapVector<T>);
    if (rows_pack(inner, kVector, from, to))
      run_columns<kVector>(from, outer, size, inner, log, to);
    else
      run_columns<1>(from, outer, size, inner, log, to);
  });
}

TESSERA_KERNEL(softmax, cuda, softmax_cuda);

}  // namespace
}  // namespace tessera

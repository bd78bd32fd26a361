#include "ops/index/gather.h"

#include "ops/index/index_cuda.cuh"
#include "tensor/view.h"

namespace tessera {
namespace {

using namespace index;

/// Operands of one call: `indexed` is addressed by the index along an axis, the other tensor has
/// the index's shape. Element e of that is element base(e) + index[e] * step of `indexed`.
template <class I>
struct Addressed {
  Offsets<1, I> base;
  const int64_t* index;
  int64_t size, step;

  __device__ __forceinline__ int64_t element(I e, const cuda::FaultReporter& faults) const {
    int64_t offset[1];
    base.at(e, offset);
    return offset[0] + faults.checked(index[e], size) * step;
  }
};

// Kernels take 0 for an index out of range, so there must be an element 0.
void check_not_empty(int64_t size, const char* op) {
  TESSERA_CHECK(ValueError, size > 0, op, ": there is nothing to address in an empty axis");
}

template <class I>
Addressed<I> addressed(const Tensor& indexed, int axis, const Tensor& index) {
  Strides to = contiguous_strides(indexed.shape());
  const int64_t step = to[axis];
  to[axis] = 0;
  return {Offsets<1, I>(StridedLoop<1>(index.shape(), {to})), index.data<int64_t>(),
          indexed.shape()[axis], step};
}

// One thread per element of y, in memory order. Bytes: index and y once, a sector of x per element
// where the index jumps.
template <class Word, class I>
__global__ void __launch_bounds__(kThreads)
    gather_words(I n, Addressed<I> at, const Word* __restrict__ x, Word* __restrict__ y,
                 cuda::FaultReporter faults) {
  for (I e = first_element<I>(); e < n; e += grid_step<I>()) y[e] = x[at.element(e, faults)];
}

void gather_cuda(const Tensor& x, int axis, const Tensor& index, Tensor& y) {
  const int64_t n = y.numel();
  if (n == 0) return;
  check_not_empty(x.shape()[axis], "gather");
  const cuda::FaultReporter faults = cuda::fault_reporter("gather");
  dispatch_width(x.dtype(), [&]<class Word>() {
    dispatch_counter(n, [&]<class I>() {
      cuda::launch(gather_words<Word, I>, {cuda::grid_for(n, kThreads), kThreads},
                   static_cast<I>(n), addressed<I>(x, axis, index),
                   static_cast<const Word*>(x.raw_data()), static_cast<Word*>(y.raw_data()),
                   faults);
    });
  });
  cuda::look_for_fault();
}

// Where several elements of src go to one place the last along the axis wins, whose number is the
// largest: a first pass leaves that in `winner` (as large as y, -1 at first), a second writes. One
// thread per element of src. Bytes: index twice, src once, a sector of winner and y per element.
template <class I, class Rank>
__global__ void __launch_bounds__(kThreads)
    find_winners(I n, Addressed<I> at, Rank* __restrict__ winner, cuda::FaultReporter faults) {
  for (I e = first_element<I>(); e < n; e += grid_step<I>())
    atomicMax(&winner[at.element(e, faults)], static_cast<Rank>(e));
}
template <class Word, class I, class Rank>
__global__ void __launch_bounds__(kThreads)
    scatter_words(I n, Addressed<I> at, const Rank* __restrict__ winner,
                  const Word* __restrict__ src, Word* __restrict__ y, cuda::FaultReporter faults) {
  for (I e = first_element<I>(); e < n; e += grid_step<I>()) {
    const int64_t to = at.element(e, faults);
    if (!winner || winner[to] == static_cast<Rank>(e)) y[to] = src[e];
  }
}

void scatter_cuda(const Tensor& src, int axis, const Tensor& index, Tensor& y) {
  const int64_t n = src.numel();
  if (n == 0) return;
  check_not_empty(y.shape()[axis], "scatter");
  const cuda::FaultReporter faults = cuda::fault_reporter("scatter");
  const cuda::LaunchConfig threads{cuda::grid_for(n, kThreads), kThreads};
  dispatch_counter(n, [&]<class I>() {
    using Rank = std::conditional_t<sizeof(I) == 4, int, long long>;
    const Addressed<I> at = addressed<I>(y, axis, index);
    Tensor winners;
    Rank* winner = nullptr;
    if (index.shape()[axis] > 1) {
      winners = empty({y.numel()}, sizeof(Rank) == 4 ? DType::i32 : DType::i64, y.device());
      winner = static_cast<Rank*>(winners.raw_data());
      cuda::fill_bytes(winner, 0xFF, static_cast<size_t>(winners.nbytes()));
      cuda::launch(find_winners<I, Rank>, threads, static_cast<I>(n), at, winner, faults);
    }
    dispatch_width(y.dtype(), [&]<class Word>() {
      cuda::launch(scatter_words<Word, I, Rank>, threads, static_cast<I>(n), at, winner,
                   static_cast<const Word*>(src.raw_data()), static_cast<Word*>(y.raw_data()),
                   faults);
    });
  });
  cuda::look_for_fault();
}

// Rows of `words` words, picked by index out of each of the outer slices; one thread per word of y,
// neighbouring threads neighbouring words. Bytes: y twice (read and written).
template <class Word, class I>
__global__ void __launch_bounds__(kThreads)
    select_rows(I n, Splitter<I> words, Splitter<I> rows, int64_t size,
                const int64_t* __restrict__ index, const Word* __restrict__ x, Word* __restrict__ y,
                cuda::FaultReporter faults) {
  for (I e = first_element<I>(); e < n; e += grid_step<I>()) {
    I word = e;
    I row = words.split(word);
    const I outer = rows.split(row);
    const int64_t from = static_cast<int64_t>(outer) * size + faults.checked(index[row], size);
    y[e] = x[from * static_cast<int64_t>(words.divisor) + word];
  }
}

void index_select_cuda(const Tensor& x, int axis, const Tensor& index, Tensor& y) {
  if (y.numel() == 0) return;
  const AxisView in = around(x.shape(), axis);
  check_not_empty(in.size, "index_select");
  const int64_t row = in.inner * size_of(x.dtype());
  const int64_t bytes = word_bytes(static_cast<uint64_t>(row) | address_bits(x.raw_data()) |
                                   address_bits(y.raw_data()));
  const int64_t n = y.nbytes() / bytes;
  const cuda::FaultReporter faults = cuda::fault_reporter("index_select");
  dispatch_word(bytes, [&]<class Word>() {
    dispatch_counter(n, [&]<class I>() {
      cuda::launch(select_rows<Word, I>, {cuda::grid_for(n, kThreads), kThreads}, static_cast<I>(n),
                   Splitter<I>(row / bytes), Splitter<I>(index.numel()), in.size,
                   index.data<int64_t>(), static_cast<const Word*>(x.raw_data()),
                   static_cast<Word*>(y.raw_data()), faults);
    });
  });
  cuda::look_for_fault();
}

TESSERA_KERNEL(gather, cuda, gather_cuda);
TESSERA_KERNEL(scatter, cuda, scatter_cuda);
TESSERA_KERNEL(index_select, cuda, index_select_cuda);

}  // namespace
}  // namespace tessera

#include "ops/index/triangle.h"

#include "ops/index/index_cuda.cuh"

namespace tessera {
namespace {

using namespace index;

// y = x on one side of a diagonal, 0 on the other; one thread per element of contiguous matrices of
// rows x columns, in memory order. What becomes 0 is not read. Bytes: at most each element once in
// and once out.
template <class Word, class I>
__global__ void __launch_bounds__(kThreads)
    triangle_words(I elements, Splitter<I> columns, Splitter<I> rows, bool upper, int64_t diagonal,
                   const Word* __restrict__ x, Word* __restrict__ y) {
  for (I e = first_element<I>(); e < elements; e += grid_step<I>()) {
    I column = e;
    I row = columns.split(column);
    rows.split(row);  // within its matrix
    const int64_t beyond = static_cast<int64_t>(column) - static_cast<int64_t>(row) - diagonal;
    y[e] = (upper ? beyond >= 0 : beyond <= 0) ? x[e] : Word(0);
  }
}

void triangle_cuda(const Tensor& x, bool upper, int64_t diagonal, Tensor& y) {
  const int64_t n = y.numel(), rows = x.size(-2), columns = x.size(-1);
  if (n == 0) return;
  // Kept within the matrix, so that the kernel's difference cannot overflow.
  const int64_t edge = std::clamp(diagonal, -rows, columns);
  dispatch_width(x.dtype(), [&]<class Word>() {
    dispatch_counter(n, [&]<class I>() {
      cuda::launch(triangle_words<Word, I>, {cuda::grid_for(n, kThreads), kThreads},
                   static_cast<I>(n), Splitter<I>(columns), Splitter<I>(rows), upper, edge,
                   static_cast<const Word*>(x.raw_data()), static_cast<Word*>(y.raw_data()));
    });
  });
}

TESSERA_KERNEL(triangle, cuda, triangle_cuda);

}  // namespace
}  // namespace tessera

#include <algorithm>
#include <cstring>

#include "ops/index/axis.h"
#include "ops/index/gather.h"
#include "tensor/parallel.h"
#include "tensor/strided_loop.h"
#include "tensor/view.h"

namespace tessera {

namespace kernel {
constinit KernelSlot<void(const Tensor&, int, const Tensor&, Tensor&)> gather{"gather"};
constinit KernelSlot<void(const Tensor&, int, const Tensor&, Tensor&)> scatter_add{"scatter_add"};
constinit KernelSlot<void(const Tensor&, int, const Tensor&, Tensor&)> scatter{"scatter"};
constinit KernelSlot<void(const Tensor&, int, const Tensor&, Tensor&)> index_select{"index_select"};
constinit KernelSlot<void(const Tensor&, int, const Tensor&, Tensor&)> index_add{"index_add"};
}  // namespace kernel

namespace {

/// Calls body(index element, element of the indexed tensor, element of the other) for every element
/// of `index`, where the other tensor has index's shape. Columns along `axis` run in order, each on
/// one thread, so that writes to the indexed tensor do not depend on the number of threads.
template <class Body>
void for_each_column(const Tensor& indexed, int axis, const Tensor& index, Body&& body) {
  const int64_t length = index.shape()[axis];
  if (index.numel() == 0) return;
  Shape columns = index.shape();
  columns[axis] = 1;
  const Strides step = contiguous_strides(index.shape());
  const Strides to = contiguous_strides(indexed.shape());
  const int64_t* at = index.data<int64_t>();
  const StridedLoop<2> loop(columns, {step, to});
  const int64_t s0 = loop.inner_stride(0), s1 = loop.inner_stride(1);
  loop.run(
      [&](const std::array<int64_t, 2>& offset, int64_t count) {
        for (int64_t j = 0; j < length; ++j)
          for (int64_t k = 0; k < count; ++k) {
            const int64_t o = offset[0] + j * step[axis] + k * s0;
            body(offset[1] + k * s1 + at[o] * to[axis], o);
          }
      },
      std::max<int64_t>(1, 16384 / length));
}

void gather_cpu(const Tensor& x, int axis, const Tensor& index, Tensor& y) {
  index::check_index_range(index, x.shape()[axis], "gather");
  index::dispatch_width(x.dtype(), [&]<class Word>() {
    const Word* src = static_cast<const Word*>(x.raw_data());
    Word* dst = static_cast<Word*>(y.raw_data());
    for_each_column(x, axis, index, [=](int64_t in, int64_t out) { dst[out] = src[in]; });
  });
}

/// A kernel that adds, for half types run in f32: sums must not be rounded at every step.
template <class Kernel>
bool add_in_f32(const Tensor& src, int axis, const Tensor& index, Tensor& gx, Kernel kernel) {
  if (gx.dtype() != DType::f16 && gx.dtype() != DType::bf16) return false;
  Tensor wide = view::to(gx, DType::f32);
  kernel(view::to(src, DType::f32), axis, index, wide);
  kernel::copy(kCpu, wide, gx);
  return true;
}

void scatter_add_cpu(const Tensor& src, int axis, const Tensor& index, Tensor& gx) {
  index::check_index_range(index, gx.shape()[axis], "scatter_add");
  if (add_in_f32(src, axis, index, gx, scatter_add_cpu)) return;
  dispatch<float, double, int64_t, int32_t, uint8_t>(gx.dtype(), "scatter_add", [&]<class T>() {
    const T* from = src.data<T>();
    T* to = gx.data<T>();
    for_each_column(gx, axis, index,
                    [=](int64_t in, int64_t out) { to[in] = static_cast<T>(to[in] + from[out]); });
  });
}

void scatter_cpu(const Tensor& src, int axis, const Tensor& index, Tensor& y) {
  index::check_index_range(index, y.shape()[axis], "scatter");
  index::dispatch_width(y.dtype(), [&]<class Word>() {
    const Word* from = static_cast<const Word*>(src.raw_data());
    Word* to = static_cast<Word*>(y.raw_data());
    for_each_column(y, axis, index, [=](int64_t in, int64_t out) { to[in] = from[out]; });
  });
}

void index_select_cpu(const Tensor& x, int axis, const Tensor& index, Tensor& y) {
  index::check_index_range(index, x.shape()[axis], "index_select");
  if (y.numel() == 0) return;
  const index::AxisView in = index::around(x.shape(), axis);
  const int64_t rows = index.numel(), run = in.inner * size_of(x.dtype());
  const int64_t* at = index.data<int64_t>();
  const char* src = static_cast<const char*>(x.raw_data());
  char* dst = static_cast<char*>(y.raw_data());
  const int64_t grain = std::max<int64_t>(1, (1 << 16) / run);
  index::dispatch_width(x.dtype(), [&]<class Word>() {
    parallel_for(0, in.outer * rows, grain, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const char* row = src + (r / rows * in.size + at[r % rows]) * run;
        if (in.inner == 1)
          std::memcpy(dst + r * run, row, sizeof(Word));
        else
          std::memcpy(dst + r * run, row, static_cast<size_t>(run));
      }
    });
  });
}

void index_add_cpu(const Tensor& src, int axis, const Tensor& index, Tensor& gx) {
  index::check_index_range(index, gx.shape()[axis], "index_add");
  if (src.numel() == 0 || add_in_f32(src, axis, index, gx, index_add_cpu)) return;
  const index::AxisView out = index::around(gx.shape(), axis);
  const int64_t rows = index.numel();
  const int64_t* at = index.data<int64_t>();
  dispatch<float, double, int64_t, int32_t, uint8_t>(gx.dtype(), "index_add", [&]<class T>() {
    const T* from = src.data<T>();
    T* to = gx.data<T>();
    // Columns, not rows, are shared out: two rows of src may go to the same place.
    const int64_t grain = std::max<int64_t>(16, 32768 / rows);
    parallel_for(0, out.outer * out.inner, grain, [&](int64_t begin, int64_t end) {
      while (begin < end) {
        const int64_t o = begin / out.inner, first = begin % out.inner;
        const int64_t count = std::min(end - begin, out.inner - first);
        for (int64_t j = 0; j < rows; ++j) {
          const T* __restrict s = from + (o * rows + j) * out.inner + first;
          T* __restrict d = to + (o * out.size + at[j]) * out.inner + first;
          for (int64_t k = 0; k < count; ++k) d[k] = static_cast<T>(d[k] + s[k]);
        }
        begin += count;
      }
    });
  });
}

}  // namespace

TESSERA_KERNEL(gather, cpu, gather_cpu);
TESSERA_KERNEL(scatter_add, cpu, scatter_add_cpu);
TESSERA_KERNEL(scatter, cpu, scatter_cpu);
TESSERA_KERNEL(index_select, cpu, index_select_cpu);
TESSERA_KERNEL(index_add, cpu, index_add_cpu);

}  // namespace tessera

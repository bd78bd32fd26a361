// scatter_add and index_add of ops/index/gather.h, without atomics. Where there are columns enough,
// a thread adds up each in the order of the source, with the CPU's bits; otherwise the source is
// sorted by destination first, and the sums are cut into parts in a way that sizes alone decide.

#include "cuda/ordered_scatter.cuh"
#include "ops/index/gather.h"
#include "ops/index/index_cuda.cuh"
#include "tensor/view.h"

namespace tessera {
namespace {

using namespace index;

// Columns that occupy a GPU though each is one thread's, and lengths that are not worth a sort.
constexpr int64_t kManyColumns = 1 << 15, kShort = 16;

bool adds_by_columns(int64_t columns, int64_t length, int64_t destinations) {
  const bool sortable = length < INT32_MAX && destinations < INT32_MAX;  // 32-bit row numbers
  return columns >= kManyColumns || length <= kShort || !sortable;
}

// Columns of src along the axis, one thread each, which adds its elements one after another.
// Neighbouring threads take neighbouring columns, contiguous unless the axis is the last one.
// Bytes: src and index once, gx read and written per element of src, which the caches may shorten.
template <class T, class I>
__global__ void __launch_bounds__(kThreads)
    add_columns(I columns, Offsets<2, I> at, int64_t length, int64_t src_step, int64_t size,
                int64_t gx_step, const int64_t* __restrict__ index, const T* __restrict__ src,
                T* __restrict__ gx, cuda::FaultReporter faults) {
  for (I c = first_element<I>(); c < columns; c += grid_step<I>()) {
    int64_t offset[2];
    at.at(c, offset);
    for (int64_t j = 0; j < length; ++j) {
      const int64_t from = offset[0] + j * src_step;
      T& to = gx[offset[1] + faults.checked(index[from], size) * gx_step];
      to = static_cast<T>(to + src[from]);
    }
  }
}

// The element of gx that each element of src goes to, or `none` with a report. Bytes: 12 per
// element.
__global__ void __launch_bounds__(kThreads)
    find_destinations(uint32_t n, Offsets<1, uint32_t> base, int64_t size, int64_t gx_step,
                      int32_t none, const int64_t* __restrict__ index, int32_t* __restrict__ keys,
                      cuda::FaultReporter faults) {
  for (uint32_t e = first_element<uint32_t>(); e < n; e += grid_step<uint32_t>()) {
    int64_t offset[1];
    base.at(e, offset);
    const int64_t at = index[e];
    const bool valid = at >= 0 && at < size;
    if (!valid) faults.report(at, size);
    keys[e] = valid ? static_cast<int32_t>(offset[0] + at * gx_step) : none;
  }
}

void scatter_add_sorted(const Tensor& src, int axis, const Tensor& index, Tensor& gx) {
  Strides to = contiguous_strides(gx.shape());
  const int64_t step = to[axis], rows = index.numel();
  to[axis] = 0;
  const Tensor keys = empty({rows}, DType::i32, gx.device());
  cuda::launch(find_destinations, {cuda::grid_for(rows, kThreads), kThreads},
               static_cast<uint32_t>(rows),
               Offsets<1, uint32_t>(StridedLoop<1>(index.shape(), {to})), gx.shape()[axis], step,
               static_cast<int32_t>(gx.numel()), index.data<int64_t>(), keys.data<int32_t>(),
               cuda::fault_reporter("scatter_add"));
  cuda::look_for_fault();
  const cuda::RowOrder order = cuda::order_rows(keys, gx.numel());
  dispatch_number(gx.dtype(), "scatter_add", [&]<class T>() {
    cuda::add_ordered(order, 1, 1, cuda::RowSource<T>{src.data<T>(), rows, 1}, gx.data<T>());
  });
}

/// A kernel that adds, for half types run in f32: sums must not be rounded at every step.
template <class Kernel>
bool add_in_f32(const Tensor& src, int axis, const Tensor& index, Tensor& gx, Kernel kernel) {
  if (gx.dtype() != DType::f16 && gx.dtype() != DType::bf16) return false;
  Tensor wide = view::to(gx, DType::f32);
  kernel(view::to(src, DType::f32), axis, index, wide);
  kernel::copy(gx.device(), wide, gx);
  return true;
}

void scatter_add_cuda(const Tensor& src, int axis, const Tensor& index, Tensor& gx) {
  if (src.numel() == 0) return;
  const int64_t length = index.shape()[axis], columns = index.numel() / length;
  TESSERA_CHECK(ValueError, gx.shape()[axis] > 0,
                "scatter_add: there is nothing to address in an empty axis");
  if (!adds_by_columns(columns, length, std::max(gx.numel(), src.numel())))
    return scatter_add_sorted(src, axis, index, gx);
  if (add_in_f32(src, axis, index, gx, scatter_add_cuda)) return;
  Shape shape = index.shape();
  shape[axis] = 1;
  const Strides from = contiguous_strides(index.shape()), to = contiguous_strides(gx.shape());
  const StridedLoop<2> loop(shape, {from, to});
  dispatch<float, double, int64_t, int32_t, uint8_t>(gx.dtype(), "scatter_add", [&]<class T>() {
    dispatch_counter(columns, [&]<class I>() {
      cuda::launch(add_columns<T, I>, {cuda::grid_for(columns, kThreads), kThreads},
                   static_cast<I>(columns), Offsets<2, I>(loop), length, from[axis],
                   gx.shape()[axis], to[axis], index.data<int64_t>(), src.data<T>(), gx.data<T>(),
                   cuda::fault_reporter("scatter_add"));
    });
  });
  cuda::look_for_fault();
}

// Rows of src (outer, rows, inner) added to rows of gx (outer, size, inner): one thread per (outer,
// inner), which takes the rows in order. Bytes: src once, gx read and written per row.
template <class T, class I>
__global__ void __launch_bounds__(kThreads)
    add_rows(I columns, Splitter<I> inner, int64_t size, int64_t rows,
             const int64_t* __restrict__ index, const T* __restrict__ src, T* __restrict__ gx,
             cuda::FaultReporter faults) {
  for (I c = first_element<I>(); c < columns; c += grid_step<I>()) {
    I k = c;
    const auto o = static_cast<int64_t>(inner.split(k)), step = static_cast<int64_t>(inner.divisor);
    const T* from = src + o * rows * step + k;
    T* to = gx + o * size * step + k;
    for (int64_t j = 0; j < rows; ++j, from += step) {
      T& sum = to[faults.checked(index[j], size) * step];
      sum = static_cast<T>(sum + *from);
    }
  }
}

void index_add_cuda(const Tensor& src, int axis, const Tensor& index, Tensor& gx) {
  if (src.numel() == 0) return;
  const AxisView to = around(gx.shape(), axis);
  TESSERA_CHECK(ValueError, to.size > 0, "index_add: there is nothing to address in an empty axis");
  const int64_t rows = index.numel(), columns = to.outer * to.inner;
  if (!adds_by_columns(columns, rows, to.size)) {
    const auto order = cuda::order_rows(index.data<int64_t>(), rows, to.size, "index_add");
    return dispatch_number(gx.dtype(), "index_add", [&]<class T>() {
      cuda::add_ordered(order, to.outer, to.inner,
                        cuda::RowSource<T>{src.data<T>(), rows, to.inner}, gx.data<T>());
    });
  }
  if (add_in_f32(src, axis, index, gx, index_add_cuda)) return;
  dispatch<float, double, int64_t, int32_t, uint8_t>(gx.dtype(), "index_add", [&]<class T>() {
    dispatch_counter(columns, [&]<class I>() {
      cuda::launch(add_rows<T, I>, {cuda::grid_for(columns, kThreads), kThreads},
                   static_cast<I>(columns), Splitter<I>(to.inner), to.size, rows,
                   index.data<int64_t>(), src.data<T>(), gx.data<T>(),
                   cuda::fault_reporter("index_add"));
    });
  });
  cuda::look_for_fault();
}

TESSERA_KERNEL(scatter_add, cuda, scatter_add_cuda);
TESSERA_KERNEL(index_add, cuda, index_add_cuda);

}  // namespace
}  // namespace tessera

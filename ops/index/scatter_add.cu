// scatter_add and index_add of ops/index/gather.h: sums in the order of the source, without
// atomics, so the same bits as on the CPU.

#include "ops/index/gather.h"
#include "ops/index/index_cuda.cuh"
#include "tensor/view.h"

namespace tessera {
namespace {

using namespace index;

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
  if (src.numel() == 0 || add_in_f32(src, axis, index, gx, scatter_add_cuda)) return;
  const int64_t length = index.shape()[axis], columns = index.numel() / length;
  TESSERA_CHECK(ValueError, gx.shape()[axis] > 0,
                "scatter_add: there is nothing to address in an empty axis");
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
template <class T>
__global__ void __launch_bounds__(kThreads)
    add_rows(AxisView to, int64_t rows, const int64_t* __restrict__ index,
             const T* __restrict__ src, T* __restrict__ gx, cuda::FaultReporter faults) {
  const int64_t columns = to.outer * to.inner;
  for (int64_t c = first_element<int64_t>(); c < columns; c += grid_step<int64_t>()) {
    const int64_t o = c / to.inner, k = c % to.inner;
    for (int64_t j = 0; j < rows; ++j) {
      T& sum = gx[(o * to.size + faults.checked(index[j], to.size)) * to.inner + k];
      sum = static_cast<T>(sum + src[(o * rows + j) * to.inner + k]);
    }
  }
}

void index_add_cuda(const Tensor& src, int axis, const Tensor& index, Tensor& gx) {
  if (src.numel() == 0 || add_in_f32(src, axis, index, gx, index_add_cuda)) return;
  const AxisView to = around(gx.shape(), axis);
  TESSERA_CHECK(ValueError, to.size > 0, "index_add: there is nothing to address in an empty axis");
  const int64_t rows = index.numel(), columns = to.outer * to.inner;
  dispatch<float, double, int64_t, int32_t, uint8_t>(gx.dtype(), "index_add", [&]<class T>() {
    cuda::launch(add_rows<T>, {cuda::grid_for(columns, kThreads), kThreads}, to, rows,
                 index.data<int64_t>(), src.data<T>(), gx.data<T>(),
                 cuda::fault_reporter("index_add"));
  });
  cuda::look_for_fault();
}

TESSERA_KERNEL(scatter_add, cuda, scatter_add_cuda);
TESSERA_KERNEL(index_add, cuda, index_add_cuda);

}  // namespace
}  // namespace tessera

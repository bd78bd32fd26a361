#include "ops/detect/box.h"

#include "cuda/launch.h"
#include "cuda/map.cuh"
#include "ops/detect/overlap.h"

namespace tessera {
namespace {

constexpr int kBlock = 256;
constexpr int kRows = 16;  // of the result that a thread computes, so that its box is read once

template <class T>
__device__ __forceinline__ math::Corners<T> load_box(const T* boxes, int64_t i) {
  return {boxes[4 * i], boxes[4 * i + 1], boxes[4 * i + 2], boxes[4 * i + 3]};
}

// A thread owns one box of b and kRows of a: one column of kRows results, beside its neighbours'.
// a (A, 4), b (B, 4), y (A, B), any A and B. Bound by writing y.
template <class T>
__global__ void __launch_bounds__(kBlock)
    every_pair(int64_t rows, int64_t columns, int64_t column_blocks, const T* __restrict__ a,
               const T* __restrict__ b, T* __restrict__ y) {
  const int64_t j = blockIdx.x % column_blocks * kBlock + threadIdx.x;
  const int64_t first = blockIdx.x / column_blocks * kRows;
  if (j >= columns) return;
  const math::Corners<T> box = load_box(b, j);
  const T area = box.area();
  const int64_t end = min(first + kRows, rows);
  for (int64_t i = first; i < end; ++i) {
    const math::Corners<T> other = load_box(a, i);
    y[i * columns + j] = math::box_iou(other, other.area(), box, area);
  }
}

void box_iou_cuda(const Tensor& a, const Tensor& b, Tensor& y) {
  if (y.numel() == 0) return;
  dispatch_float(a.dtype(), "box_iou", [&]<class T>() {
    const int64_t rows = a.size(0), columns = b.size(0);
    const int64_t column_blocks = (columns + kBlock - 1) / kBlock;
    const int64_t blocks = column_blocks * ((rows + kRows - 1) / kRows);
    TESSERA_CHECK(ValueError, blocks <= INT32_MAX, "box_iou: ", rows, " times ", columns,
                  " boxes are too many");
    cuda::launch(every_pair<T>, {static_cast<unsigned>(blocks), kBlock}, rows, columns,
                 column_blocks, a.data<T>(), b.data<T>(), y.data<T>());
  });
}

TESSERA_KERNEL(box_iou, cuda, box_iou_cuda);

}  // namespace
}  // namespace tessera

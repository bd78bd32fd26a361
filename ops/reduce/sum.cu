#include "ops/reduce/sum.h"

#include "cuda/reduce_tensor.cuh"
#include "ops/reduce/reducers.h"

namespace tessera {
namespace {

template <class T, class Out>
void sum_typed(const Tensor& x, Tensor& y) {
  cuda::reduce<T>(x, y.shape(), reducers::Sum<T, Out>{}, y.data<Out>());
}

void sum_cuda(const Tensor& x, Tensor& y) {
  if (y.numel() == 0) return;
  if (x.numel() == 0) return kernel::fill(y.device(), y, 0.0);
  if (is_floating(x.dtype())) {
    dispatch_floating(x.dtype(), "sum", [&]<class T>() { sum_typed<T, T>(x, y); });
  } else {
    dispatch<int64_t, int32_t, uint8_t, bool>(x.dtype(), "sum",
                                              [&]<class T>() { sum_typed<T, int64_t>(x, y); });
  }
}

TESSERA_KERNEL(sum, cuda, sum_cuda);

}  // namespace
}  // namespace tessera

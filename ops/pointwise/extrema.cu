#include "ops/pointwise/extrema.h"

#include "ops/pointwise/pointwise_cuda.cuh"

namespace tessera {
namespace {

template <class Formula>
void extremum_cuda(const Tensor& a, const Tensor& b, Tensor& y) {
  dispatch_number(y.dtype(), "minimum", [&]<class T>() { cuda::map<T, T, T>(y, Formula{}, a, b); });
}

void share_of_larger_cuda(const Tensor& a, const Tensor& b, Tensor& y) {
  dispatch_floating(y.dtype(), "maximum",
                    [&]<class T>() { cuda::map<T, T, T>(y, math::ShareOfLarger{}, a, b); });
}

TESSERA_POINTWISE_CUDA(clamp, math::Clamp);
TESSERA_KERNEL(minimum, cuda, extremum_cuda<math::Minimum>);
TESSERA_KERNEL(maximum, cuda, extremum_cuda<math::Maximum>);
TESSERA_KERNEL(share_of_larger, cuda, share_of_larger_cuda);

}  // namespace
}  // namespace tessera

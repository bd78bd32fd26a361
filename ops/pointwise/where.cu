#include "ops/pointwise/where.h"

#include "cuda/map.cuh"
#include "ops/pointwise/formulas.h"

namespace tessera {
namespace {

void where_cuda(const Tensor& condition, const Tensor& a, const Tensor& b, Tensor& y) {
  dispatch_all(y.dtype(), "where",
               [&]<class T>() { cuda::map<T, bool, T, T>(y, math::Select{}, condition, a, b); });
}

TESSERA_KERNEL(where, cuda, where_cuda);

}  // namespace
}  // namespace tessera

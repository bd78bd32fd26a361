#include "ops/reduce/moments.h"

#include <limits>

#include "cuda/moments.cuh"
#include "cuda/reduce_tensor.cuh"
#include "ops/reduce/reducers.h"

namespace tessera {
namespace {

// sum (v - mean)^2 / divisor in one pass, in f64.
template <class T>
struct Variance : cuda::MomentsReducer<T, double> {
  double divisor;
  explicit Variance(double d) : divisor(d) {}
  __device__ T finish(const cuda::Moments<double>& a) const {
    return static_cast<T>(static_cast<compute_t<T>>(a.m2 / divisor));
  }
};

void var_cuda(const Tensor& x, double divisor, Tensor& y) {
  if (y.numel() == 0) return;
  if (x.numel() == 0) return kernel::fill(y.device(), y, std::numeric_limits<double>::quiet_NaN());
  dispatch_floating(x.dtype(), "var", [&]<class T>() {
    cuda::reduce<T>(x, y.shape(), Variance<T>(divisor), y.data<T>());
  });
}

void norm2_cuda(const Tensor& x, Tensor& y) {
  if (y.numel() == 0) return;
  if (x.numel() == 0) return kernel::fill(y.device(), y, 0.0);
  dispatch_floating(x.dtype(), "norm", [&]<class T>() {
    cuda::reduce<T>(x, y.shape(), reducers::Norm2<T>{}, y.data<T>());
  });
}

TESSERA_KERNEL(var, cuda, var_cuda);
TESSERA_KERNEL(norm2, cuda, norm2_cuda);

}  // namespace
}  // namespace tessera

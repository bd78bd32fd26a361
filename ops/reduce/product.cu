#include "ops/reduce/product.h"

#include "cuda/reduce_tensor.cuh"
#include "ops/reduce/online_sum.cuh"
#include "ops/reduce/reducers.h"

namespace tessera {
namespace {

template <class C>
struct WideSum : cuda::OnlineSum<C, double> {
  WideSum() = default;
  __device__ explicit WideSum(const cuda::OnlineSum<C>& lane)
      : cuda::OnlineSum<C, double>{lane.top, lane.sum} {}
};

// log sum exp(v) in one pass.
template <class T>
struct LogSumExp {
  using C = compute_t<T>;
  using Lane = cuda::OnlineSum<C>;
  using Wide = WideSum<C>;
  __device__ Lane lane() const { return Lane::none(); }
  __device__ Wide wide() const { return Wide(Lane::none()); }
  __device__ void step(Lane& a, C v, int64_t) const { a.add(v); }
  __device__ void merge(Wide& a, const Wide& b) const { a.merge(b); }
  __device__ T finish(const Wide& a) const {
    return static_cast<T>(static_cast<C>(math::log(a.sum) + static_cast<double>(a.top)));
  }
};

void prod_cuda(const Tensor& x, Tensor& y) {
  if (y.numel() == 0) return;
  dispatch_floating(x.dtype(), "prod", [&]<class T>() {
    cuda::reduce<T>(x, y.shape(), reducers::Product<T>{}, y.data<T>());
  });
}

void logsumexp_cuda(const Tensor& x, Tensor& y) {
  if (y.numel() == 0) return;
  dispatch_floating(x.dtype(), "logsumexp",
                    [&]<class T>() { cuda::reduce<T>(x, y.shape(), LogSumExp<T>{}, y.data<T>()); });
}

void count_nonzero_cuda(const Tensor& x, Tensor& y) {
  if (y.numel() == 0) return;
  dispatch_all(x.dtype(), "count_nonzero", [&]<class T>() {
    cuda::reduce<T>(x, y.shape(), reducers::Count<T>{}, y.data<int64_t>());
  });
}

TESSERA_KERNEL(prod, cuda, prod_cuda);
TESSERA_KERNEL(logsumexp, cuda, logsumexp_cuda);
TESSERA_KERNEL(count_nonzero, cuda, count_nonzero_cuda);

}  // namespace
}  // namespace tessera

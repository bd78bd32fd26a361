#include "ops/loss/binary.h"

#include "cuda/fault.h"
#include "cuda/map.cuh"
#include "ops/loss/binary_formulas.h"

namespace tessera {
namespace {

void bce_with_logits_cuda(const Tensor& x, const Tensor& t, const Tensor& w, Tensor& y) {
  dispatch_floating(y.dtype(), "bce_with_logits",
                    [&]<class T>() { cuda::map<T, T, T, T>(y, math::BceWithLogits{}, x, t, w); });
}

void bce_with_logits_grad_cuda(const Tensor& g, const Tensor& x, const Tensor& t, const Tensor& w,
                               Tensor& gx) {
  dispatch_floating(gx.dtype(), "bce_with_logits_grad", [&]<class T>() {
    cuda::map<T, T, T, T, T>(gx, math::BceWithLogitsGrad{}, g, x, t, w);
  });
}

struct CheckedBce {
  cuda::FaultReporter fault;
  template <class C>
  __device__ C operator()(C p, C t) const {
    if (!math::is_probability(p)) fault.report_number(static_cast<double>(p));
    return math::Bce{}(p, t);
  }
};

void bce_cuda(const Tensor& p, const Tensor& t, Tensor& y) {
  const cuda::FaultReporter fault = cuda::fault_reporter(
      "bce_loss: logits belong to bce_with_logits and probabilities must lie in [0, 1]");
  dispatch_floating(y.dtype(), "bce_loss",
                    [&]<class T>() { cuda::map<T, T, T>(y, CheckedBce{fault}, p, t); });
  cuda::look_for_fault();
}

TESSERA_KERNEL(bce, cuda, bce_cuda);
TESSERA_KERNEL(bce_with_logits, cuda, bce_with_logits_cuda);
TESSERA_KERNEL(bce_with_logits_grad, cuda, bce_with_logits_grad_cuda);

}  // namespace
}  // namespace tessera

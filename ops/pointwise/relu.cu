#include "ops/pointwise/relu.h"

#include "ops/pointwise/pointwise_cuda.cuh"

namespace tessera {
namespace {

struct Prelu {
  template <class C>
  TESSERA_HD C operator()(C v, C w) const {
    return v > C(0) ? v : v * w;
  }
};

void prelu_cuda(const Tensor& x, const Tensor& weight, Tensor& y) {
  dispatch_floating(y.dtype(), "prelu",
                    [&]<class T>() { cuda::map<T, T, T>(y, Prelu{}, x, weight); });
}

TESSERA_POINTWISE_CUDA(relu, math::Relu);
TESSERA_POINTWISE_CUDA(leaky_relu, math::LeakyRelu);
TESSERA_POINTWISE_CUDA(hardtanh, math::Hardtanh);
TESSERA_POINTWISE_CUDA(elu, math::Elu);
TESSERA_KERNEL(prelu, cuda, prelu_cuda);

}  // namespace
}  // namespace tessera

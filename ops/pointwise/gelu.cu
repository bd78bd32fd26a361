#include "ops/pointwise/gelu.h"

#include "ops/pointwise/pointwise_cuda.cuh"

namespace tessera {
namespace {

TESSERA_POINTWISE_CUDA(erf, math::Erf);
TESSERA_POINTWISE_CUDA(gelu, math::Gelu);
TESSERA_POINTWISE_CUDA(gelu_tanh, math::GeluTanh);

}  // namespace
}  // namespace tessera

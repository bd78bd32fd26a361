#include "ops/pointwise/exponential.h"

#include "ops/pointwise/pointwise_cuda.cuh"

namespace tessera {
namespace {

TESSERA_POINTWISE_CUDA(exp, math::Exp);
TESSERA_POINTWISE_CUDA(expm1, math::Expm1);
TESSERA_POINTWISE_CUDA(log, math::Log);
TESSERA_POINTWISE_CUDA(log1p, math::Log1p);

}  // namespace
}  // namespace tessera

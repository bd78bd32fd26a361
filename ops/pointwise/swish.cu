#include "ops/pointwise/swish.h"

#include "ops/pointwise/pointwise_cuda.cuh"

namespace tessera {
namespace {

TESSERA_POINTWISE_CUDA(silu, math::Silu);
TESSERA_POINTWISE_CUDA(mish, math::Mish);
TESSERA_POINTWISE_CUDA(hardswish, math::Hardswish);
TESSERA_POINTWISE_CUDA(hardsigmoid, math::Hardsigmoid);

}  // namespace
}  // namespace tessera

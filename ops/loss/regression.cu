#include "ops/loss/regression.h"

#include "ops/pointwise/pointwise_cuda.cuh"

namespace tessera {
namespace {

TESSERA_POINTWISE_CUDA(huber, math::Huber);

}  // namespace
}  // namespace tessera

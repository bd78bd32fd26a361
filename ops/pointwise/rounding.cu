#include "ops/pointwise/rounding.h"

#include "ops/pointwise/pointwise_cuda.cuh"

namespace tessera {
namespace {

TESSERA_POINTWISE_CUDA(abs, math::Abs);
TESSERA_KERNEL(sign, cuda, detail::pointwise_cuda<math::Sign>);
TESSERA_KERNEL(floor, cuda, detail::pointwise_cuda<math::Floor>);
TESSERA_KERNEL(ceil, cuda, detail::pointwise_cuda<math::Ceil>);
TESSERA_KERNEL(round, cuda, detail::pointwise_cuda<math::Round>);

}  // namespace
}  // namespace tessera

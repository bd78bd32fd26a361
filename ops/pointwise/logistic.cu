#include "ops/pointwise/logistic.h"

#include "ops/pointwise/pointwise_cuda.cuh"

namespace tessera {
namespace {

TESSERA_POINTWISE_CUDA(tanh, math::Tanh);
TESSERA_POINTWISE_CUDA(sigmoid, math::Sigmoid);
TESSERA_POINTWISE_CUDA(log_sigmoid, math::LogSigmoid);
TESSERA_POINTWISE_CUDA(softplus, math::Softplus);

}  // namespace
}  // namespace tessera

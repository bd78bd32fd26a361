#pragma once

#include "ops/pointwise/pointwise_slots.h"

namespace tessera {

/// Error function of a floating tensor (DTypeError otherwise). Differentiable to any order.
Tensor erf(const Tensor& x);

enum class GeluForm { erf, tanh };
/// x Phi(x), Phi the normal distribution function, or its tanh approximation. Differentiable to any
/// order. Source: Hendrycks and Gimpel, arXiv 1606.08415.
Tensor gelu(const Tensor& x, GeluForm form = GeluForm::erf);

namespace kernel {
extern PointwiseSlot erf, gelu, gelu_tanh;
extern PointwiseGradSlot erf_grad, gelu_grad, gelu_tanh_grad;
}  // namespace kernel

}  // namespace tessera

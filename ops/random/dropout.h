#pragma once

#include "ops/random/random.h"
#include "tensor/tensor.h"

namespace tessera {

/// In training: element i of x is kept and scaled by 1 / (1 - p) unless the upper 24 bits of random
/// word i / 2^24 are below p; dropped elements are zero, whatever they held. Otherwise x itself,
/// and the generator is left alone. p in [0, 1] (ValueError). f32 and f64; the mask is the same in
/// both. Differentiable, any order. No mask is stored: the gradient draws the same numbers again.
/// Source: Srivastava et al., "Dropout", 2014.
Tensor dropout(const Tensor& x, double p, bool training, Generator& generator);

/// The same for whole samples: x (N, ...) with one draw per sample (stochastic depth,
/// arXiv 1603.09382). ShapeError for a scalar.
Tensor drop_path(const Tensor& x, double p, bool training, Generator& generator);

namespace kernel {
/// y[i] = x[i] / (1 - p) or 0; contiguous operands, p < 1. Each draw decides on `run` consecutive
/// elements.
extern KernelSlot<void(const Tensor& x, const RandomDraw&, double p, int64_t run, Tensor& y)>
    dropout;
}  // namespace kernel

}  // namespace tessera

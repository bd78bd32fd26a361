#pragma once

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

/// Sum over `axes` (all when empty); with keepdim they stay with size 1. Floating input keeps its
/// dtype and is accumulated in blocks, the blocks in f64; integers and bool give i64. The result
/// does not depend on the number of threads. Differentiable to any order.
Tensor sum(const Tensor& x, const Dims& axes = {}, bool keepdim = false);

/// The adjoint of broadcasting: sums g down to `shape`, which must broadcast to g's. g itself when
/// the shapes are equal.
Tensor sum_to(const Tensor& g, const Shape& shape);

namespace kernel {
/// y has x's rank; axes where y is 1 and x is not are summed.
extern KernelSlot<void(const Tensor& x, Tensor& y)> sum;
}  // namespace kernel

}  // namespace tessera

#pragma once

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

// Reductions over `axes` (all when empty), which stay with size 1 under keepdim.

/// Product of a floating tensor (DTypeError otherwise); 1 over no elements. Differentiable to any
/// order, with zeros among the elements too.
Tensor prod(const Tensor& x, const Dims& axes = {}, bool keepdim = false);

/// log(sum(exp(x))) of a floating tensor (DTypeError otherwise) without overflow; -inf over no
/// elements and over elements that are all -inf, where the gradient is 0. Differentiable to any
/// order.
Tensor logsumexp(const Tensor& x, const Dims& axes = {}, bool keepdim = false);

/// Whether some / every element is not 0, and how many are not (i64). Any dtype; NaN counts as not
/// 0. No gradient.
Tensor any(const Tensor& x, const Dims& axes = {}, bool keepdim = false);
Tensor all(const Tensor& x, const Dims& axes = {}, bool keepdim = false);
Tensor count_nonzero(const Tensor& x, const Dims& axes = {}, bool keepdim = false);

namespace kernel {
/// y has x's rank; axes where y is 1 and x is not are reduced. x has elements.
extern KernelSlot<void(const Tensor&x, Tensor&y)> prod, logsumexp;
/// y is i64.
extern KernelSlot<void(const Tensor& x, Tensor& y)> count_nonzero;
}  // namespace kernel

}  // namespace tessera

#pragma once

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

/// exp(x) / sum exp(x) along one axis, with the maximum subtracted first. x floating; half types
/// are computed in f32. A row of -infinity alone gives NaN. Differentiable to any order. Throws
/// DTypeError, ValueError (axis).
Tensor softmax(const Tensor& x, int64_t axis = -1);
/// log of softmax, without forming the quotient: exact for any spread of x.
Tensor log_softmax(const Tensor& x, int64_t axis = -1);

namespace kernel {
/// x and y contiguous, seen as (outer, size, inner); normalised along `size`.
extern KernelSlot<void(const Tensor& x, int64_t outer, int64_t size, int64_t inner, bool log,
                       Tensor& y)>
    softmax;
}  // namespace kernel

}  // namespace tessera

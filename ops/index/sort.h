#pragma once

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

struct SortResult {
  Tensor values;
  Tensor indices;  // i64 positions along the axis
};

// NaN counts as larger than every number, and equal elements keep the order of their positions
// (torch leaves the order of ties open). Values are gathered by the indices, so they are
// differentiable in x to any order; indices have no gradient. Any dtype. Throws ValueError for an
// axis or a k out of range.

/// The k largest (or smallest) elements along an axis, best first.
/// Cost: O(n + k log k) per column.
SortResult topk(const Tensor& x, int64_t k, int64_t axis = -1, bool largest = true);
/// All elements along an axis in order. Cost: O(n log n) per column.
SortResult sort(const Tensor& x, int64_t axis = -1, bool descending = false);
/// The indices alone.
Tensor argsort(const Tensor& x, int64_t axis = -1, bool descending = false);

namespace kernel {
/// indices (i64, contiguous): x's shape with k along `axis`: the first k in sorted order.
extern KernelSlot<void(const Tensor& x, int axis, bool descending, Tensor& indices)> topk;
}  // namespace kernel

}  // namespace tessera

#pragma once

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

/// Raw views and copies for kernels and bookkeeping: they are NOT recorded for differentiation. The
/// differentiable functions of the same names are in ops/index/view.h.
namespace tessera::view {

/// The same storage seen through another shape, strides and offset (elements from its start).
/// Throws ShapeError when it would reach outside the storage.
Tensor as_strided(const Tensor& x, const Shape& shape, const Strides& strides, int64_t offset);
/// A second handle with its own autograd state (none) and the same elements.
Tensor alias(const Tensor& x);
/// One size may be -1. A view where the strides allow it, otherwise a contiguous copy.
Tensor reshape(const Tensor& x, const Shape& shape);
/// axes: a permutation of 0..rank-1; output axis i is input axis axes[i].
Tensor permute(const Tensor& x, const Dims& axes);
Tensor transpose(const Tensor& x, int64_t a, int64_t b);
/// Elements start, start + step, ... before stop of one axis; negative start / stop count from the
/// end and both are clamped to the axis. step >= 1.
Tensor slice(const Tensor& x, int64_t axis, int64_t start, int64_t stop, int64_t step = 1);
/// Index `i` of one axis, which disappears.
Tensor select(const Tensor& x, int64_t axis, int64_t i);
Tensor unsqueeze(const Tensor& x, int64_t axis);
/// Removes one axis of size 1.
Tensor squeeze(const Tensor& x, int64_t axis);
/// Repeats axes of size 1 (stride 0) and adds leading axes. ShapeError if it does not broadcast.
Tensor broadcast_to(const Tensor& x, const Shape& shape);
/// x itself when contiguous, otherwise a row-major copy.
Tensor contiguous(const Tensor& x);
/// Always a new row-major tensor.
Tensor clone(const Tensor& x);
/// Converted copy; x itself when nothing changes.
Tensor to(const Tensor& x, DType dtype);
Tensor to(const Tensor& x, Device device);

}  // namespace tessera::view

namespace tessera {

/// Writes src, broadcast and converted to dst's dtype, into dst (any strides, any pair of devices).
/// Bumps dst's version. Floating to integer truncates; to bool is != 0.
void copy_(Tensor& dst, const Tensor& src);
/// Every element := value. Bumps the version.
void fill_(Tensor& dst, double value);

namespace kernel {
/// dst and src have the same shape and live on the same device.
extern KernelSlot<void(const Tensor& src, Tensor& dst)> copy;
extern KernelSlot<void(Tensor& dst, double value)> fill;
/// Between the host and a device, either way: contiguous, of one shape and dtype, not empty.
/// Registered by the device.
extern KernelSlot<void(const Tensor& src, Tensor& dst)> transfer;
}  // namespace kernel

}  // namespace tessera

#pragma once

#include <memory>
#include <vector>

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

/// A sparse linear map along one axis: output o = sum over its taps of weight * input[index]. The
/// taps of output o are begin[o] .. begin[o + 1] - 1.
struct AxisMap {
  int64_t in = 0, out = 0;
  std::vector<int64_t> begin{0};
  std::vector<int64_t> index;
  std::vector<double> weight;

  /// Adds a tap to the output being built; taps of one input are merged, zero weights left out.
  void tap(int64_t input, double w);
  /// Ends the taps of the output being built.
  void next();
  AxisMap transposed() const;
};
template <class F>
void visit_tensors(const AxisMap&, F&&) {}  // holds none
using AxisMapPtr = std::shared_ptr<const AxisMap>;

/// y(n, :, :, c) = rows * x(n, :, :, c) * columns^T for images x (N, H, W, C), f32 or f64, with
/// rows.in == H and columns.in == W. The common operator of all resizing: the adjoint is the same
/// operator with both maps transposed, so it is differentiable to any order and its gradient is
/// deterministic. Cost: reads rows' taps per output row, then columns' taps per output pixel.
Tensor separable(const Tensor& x, const AxisMapPtr& rows, const AxisMapPtr& columns);

namespace kernel {
extern KernelSlot<void(const Tensor& x, const AxisMap& rows, const AxisMap& columns, Tensor& y)>
    separable;
}  // namespace kernel

}  // namespace tessera

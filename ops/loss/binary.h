#pragma once

#include "ops/loss/reduction.h"
#include "tensor/kernel_slot.h"

namespace tessera {

// Losses of independent yes / no decisions. input, target (in [0, 1]) have one shape and one
// floating dtype; the result has their shape, or none with a reduction. Differentiable to any order
// in both. Throw ShapeError, DTypeError, ValueError.

struct BceWithLogitsOptions {
  Tensor weight = {};      // factor per element; broadcasts to the input
  Tensor pos_weight = {};  // factor of the positive term; broadcasts to the input
  Reduction reduction = Reduction::mean;
};
/// -(pos_weight t log sigmoid(x) + (1 - t) log(1 - sigmoid(x))) weight, from the logits x: neither
/// tail overflows or cancels. The mean divides by the number of elements.
Tensor bce_with_logits(const Tensor& input, const Tensor& target,
                       const BceWithLogitsOptions& options = {});

struct BceOptions {
  Tensor weight = {};  // factor per element; broadcasts to the input
  Reduction reduction = Reduction::mean;
};
/// -(t log p + (1 - t) log(1 - p)) weight of probabilities p. Logarithms stop at -100 and the
/// slope's denominator p (1 - p) at 1e-12, so that p = 0 and p = 1 stay finite. ValueError for p
/// outside [0, 1] (NaN passes).
Tensor bce_loss(const Tensor& input, const Tensor& target, const BceOptions& options = {});

struct SigmoidFocalOptions {
  double alpha = 0.25;  // weight of the positives, 1 - alpha of the negatives; < 0: both 1
  double gamma = 2.0;
  Reduction reduction = Reduction::none;
};
/// alpha_t (1 - p_t)^gamma bce, p = sigmoid(x), p_t = p for t = 1 and 1 - p for t = 0.
/// Source: Lin et al., arXiv 1708.02002, equation 5.
Tensor sigmoid_focal_loss(const Tensor& input, const Tensor& target,
                          const SigmoidFocalOptions& options = {});

namespace kernel {
/// Elementwise y = bce_loss without weight; all of one shape and contiguous.
extern KernelSlot<void(const Tensor& p, const Tensor& t, Tensor& y)> bce;
/// y = bce_with_logits without weight, gx = g times its slope in x. pos_weight broadcasts to x; the
/// others have its shape, any strides.
extern KernelSlot<void(const Tensor& x, const Tensor& t, const Tensor& pos_weight, Tensor& y)>
    bce_with_logits;
extern KernelSlot<void(const Tensor& g, const Tensor& x, const Tensor& t, const Tensor& pos_weight,
                       Tensor& gx)>
    bce_with_logits_grad;
}  // namespace kernel

}  // namespace tessera

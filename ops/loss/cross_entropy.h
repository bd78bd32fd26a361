#pragma once

#include "ops/loss/reduction.h"
#include "tensor/kernel_slot.h"

namespace tessera {

struct CrossEntropyOptions {
  Tensor weight = {};  // (C) factor per class, floating; a constant
  double label_smoothing = 0.0;
  int64_t ignore_index = -100;  // targets of this value contribute nothing
  Reduction reduction = Reduction::mean;
};

/// Cross entropy of softmax(logits) against class indices or class probabilities.
///   logits   (..., C)  floating, the classes on the last axis
///   targets  (...)     i64 class indices, or (..., C) probabilities in the logits' dtype
///   returns  (...) with Reduction::none, otherwise a scalar
/// Indices: with smoothing e the row's loss is -sum_c q_c log p_c, q_c = weight_c (e / C + (1 - e)
/// [c = target]). The mean divides by the sum of weight[target] over the rows that are not ignored
/// (NaN when there are none). Probabilities t: q_c = weight_c (e / C + (1 - e) t_c), nothing is
/// ignored, and the mean divides by the number of rows. Differentiable to any order in logits and
/// in probability targets. With indices, forward and backward are one kernel each that keeps no
/// probabilities. Throws ShapeError, DTypeError, DeviceError, ValueError (label_smoothing outside
/// [0, 1]; a target outside [0, C), naming position and value; on a GPU the value alone, and
/// later).
Tensor cross_entropy(const Tensor& logits, const Tensor& targets,
                     const CrossEntropyOptions& options = {});

struct NllLossOptions {
  Tensor weight = {};  // (C) factor per class, floating; a constant
  int64_t ignore_index = -100;
  Reduction reduction = Reduction::mean;
};
/// -weight[target] log_probabilities[target] per row; shapes, mean and errors as cross_entropy with
/// indices. Differentiable to any order (linear).
Tensor nll_loss(const Tensor& log_probabilities, const Tensor& targets,
                const NllLossOptions& options = {});

/// Class indices with everything that turns them into the distribution q above.
struct ClassTargets {
  Tensor index;   // (rows) i64
  Tensor weight;  // (classes) floating, or undefined
  double smoothing = 0.0;
  int64_t ignore = -100;
};
template <class F>
void visit_tensors(const ClassTargets& targets, F&& f) {
  visit_tensors(targets.index, f);
  visit_tensors(targets.weight, f);
}

namespace kernel {
/// logits (rows, classes), contiguous; loss (rows) in its dtype; log_sum (rows) receives log sum
/// exp in f32, or f64 for f64 logits.
extern KernelSlot<void(const Tensor& logits, const ClassTargets& targets, Tensor& loss,
                       Tensor& log_sum)>
    cross_entropy;
/// g (rows), gx (rows, classes) in the logits' dtype.
extern KernelSlot<void(const Tensor& g, const Tensor& logits, const Tensor& log_sum,
                       const ClassTargets& targets, Tensor& gx)>
    cross_entropy_backward;
}  // namespace kernel

}  // namespace tessera

#pragma once

#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

// Optimizer steps as one pass over all parameters of a group: parameters, gradients and state are
// parallel lists of equal shapes and one floating dtype (f32 or f64), parameters and state
// contiguous. Nothing is recorded; parameters and state have their versions bumped. The formulas
// are torch's, in its order of operations. Throw ValueError (lengths, strides), ShapeError,
// DTypeError.

/// g += weight_decay p;  v = momentum v + (1 - dampening) g, or g when `first`;
/// p -= lr (nesterov ? g + momentum v : v). Without momentum `velocities` is empty and p -= lr g.
struct SgdUpdate {
  double lr, momentum, dampening, weight_decay;
  bool nesterov, first;
};
void sgd_update_(const Tensors& parameters, const Tensors& grads, const Tensors& velocities,
                 const SgdUpdate& update);

/// Adam (arXiv 1412.6980) and AdamW (arXiv 1711.05101, `decoupled`): step is 1-based.
///   decoupled: p *= 1 - lr weight_decay, otherwise g += weight_decay p
///   m = m + (1 - beta1)(g - m);  v = beta2 v + (1 - beta2) g^2;  amsgrad: v_max = max(v_max, v)
///   p -= lr / (1 - beta1^step) * m / (sqrt(v or v_max) / sqrt(1 - beta2^step) + eps)
struct AdamUpdate {
  double lr, beta1, beta2, eps, weight_decay;
  int64_t step;
  bool decoupled;
};
/// `v_max` is empty without amsgrad.
void adam_update_(const Tensors& parameters, const Tensors& grads, const Tensors& m,
                  const Tensors& v, const Tensors& v_max, const AdamUpdate& update);

/// s = alpha s + (1 - alpha) g^2;  centered: a = alpha a + (1 - alpha) g, d = sqrt(s - a^2) + eps,
/// otherwise d = sqrt(s) + eps;  momentum: b = momentum b + g / d, p -= lr b; otherwise p -= lr g /
/// d.
struct RmspropUpdate {
  double lr, alpha, eps, weight_decay, momentum;
};
/// `a` is empty unless centered, `b` unless momentum > 0.
void rmsprop_update_(const Tensors& parameters, const Tensors& grads, const Tensors& s,
                     const Tensors& a, const Tensors& b, const RmspropUpdate& update);

namespace kernel {
extern KernelSlot<void(const Tensors& p, const Tensors& g, const Tensors& velocity,
                       const SgdUpdate&)>
    sgd_update;
extern KernelSlot<void(const Tensors& p, const Tensors& g, const Tensors& m, const Tensors& v,
                       const Tensors& v_max, const AdamUpdate&)>
    adam_update;
extern KernelSlot<void(const Tensors& p, const Tensors& g, const Tensors& s, const Tensors& a,
                       const Tensors& b, const RmspropUpdate&)>
    rmsprop_update;
}  // namespace kernel

}  // namespace tessera

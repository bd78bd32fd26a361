#pragma once

#include "ops/norm/norm_epilogue.h"
#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace tessera {

/// x seen as (batch, spatial, channels), row-major. One mean and one variance belong to each batch
/// entry and each group of `group` neighbouring channels; weight and bias have one value per
/// channel. Batch norm: batch 1, group 1. Instance norm: group 1. Group norm: channels / groups.
/// Layer norm: spatial 1, group = channels = the normalised elements.
struct NormLayout {
  int64_t batch = 1, spatial = 1, channels = 1, group = 1;

  int64_t groups() const { return channels / group; }
  /// Elements behind one mean.
  int64_t count() const { return spatial * group; }
};

/// The dtype in which the statistics of a tensor are kept: f64 for f64, f32 for the rest.
inline DType statistics_dtype(DType dtype) { return dtype == DType::f64 ? dtype : DType::f32; }

/// y = activation((x - mean) / sqrt(var + eps) * weight + bias + residual), what batch, instance,
/// layer and group norm share. mean and var are (batch, groups) in statistics_dtype(): when
/// `given`, they are constants; otherwise they are overwritten with the mean and the biased
/// variance of x, through which the gradient flows. weight and bias (channels), floating, may be
/// undefined (1 and 0). x floating, any strides; the residual of its shape and dtype. Forward and
/// backward are one kernel each; differentiable to any order, from the second on through public
/// operators. Keeps x, weight, mean and var for backward and, with an activation, y.
/// The statistics are formed in fixed blocks of rows (mean, then squared deviations, while the
/// block is in cache), which are combined in f64: no cancellation for any mean, and the same bits
/// for any number of threads.
Tensor channel_norm(const Tensor& x, const NormLayout& layout, const Tensor& weight,
                    const Tensor& bias, double eps, Tensor& mean, Tensor& var, bool given,
                    const NormEpilogue& epilogue = {});

/// Throws unless x, and weight and bias where defined, are floating and the latter have the shape
/// `expected`; messages start with `op`.
void check_norm_inputs(const Tensor& x, const Tensor& weight, const Tensor& bias,
                       const Shape& expected, double eps, std::string_view op);

/// Gradients of channel_norm; the undefined ones are not wanted.
struct NormGradients {
  Tensor x;
  Tensor weight, bias;  ///< both or neither; in statistics_dtype()
  Tensor residual;      ///< only with an activation: without one it is the gradient itself
};

template <class F>
void visit_tensors(const NormGradients& gradients, F&& f) {
  for (const Tensor* t : {&gradients.x, &gradients.weight, &gradients.bias, &gradients.residual})
    visit_tensors(*t, f);
}

namespace kernel {
/// As above with x and the residual contiguous; fills mean and var unless `given`. Traffic: reads x
/// twice (once in layer norm and when given) and the residual once, writes y.
extern KernelSlot<void(const Tensor& x, const NormLayout& layout, const Tensor& weight,
                       const Tensor& bias, double eps, bool given, const NormEpilogue& epilogue,
                       Tensor& mean, Tensor& var, Tensor& y)>
    channel_norm;
/// g, x and y contiguous; y, the result of the forward pass, is read with an activation only. Each
/// is read twice (once for the weight's gradient alone, for the input's with given statistics, and
/// in layer norm); with the residual's gradient, which is written in the first pass and read in the
/// second, g and y once.
extern KernelSlot<void(const Tensor& g, const Tensor& x, const Tensor& y, const NormLayout& layout,
                       const Tensor& weight, double eps, bool given, Activation activation,
                       const Tensor& mean, const Tensor& var, NormGradients& gradients)>
    channel_norm_backward;
}  // namespace kernel

}  // namespace tessera

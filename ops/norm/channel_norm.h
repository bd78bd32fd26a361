#pragma once

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

/// y = (x - mean) / sqrt(var + eps) * weight + bias, what batch, instance, layer and group norm
/// share. mean and var are (batch, groups) in statistics_dtype(): when `given`, they are constants;
/// otherwise they are overwritten with the mean and the biased variance of x, through which the
/// gradient flows. weight and bias (channels), floating, may be undefined (1 and 0). x floating,
/// any strides. Forward and backward are one kernel each; differentiable to any order, from the
/// second on through public operators. Keeps x and weight, mean and var for backward.
/// The statistics are formed in fixed blocks of rows (mean, then squared deviations, while the
/// block is in cache), which are combined in f64: no cancellation for any mean, and the same bits
/// for any number of threads.
Tensor channel_norm(const Tensor& x, const NormLayout& layout, const Tensor& weight,
                    const Tensor& bias, double eps, Tensor& mean, Tensor& var, bool given);

/// Throws unless x, and weight and bias where defined, are floating and the latter have the shape
/// `expected`; messages start with `op`.
void check_norm_inputs(const Tensor& x, const Tensor& weight, const Tensor& bias,
                       const Shape& expected, double eps, std::string_view op);

namespace kernel {
/// As above with x contiguous; fills mean and var unless `given`. Traffic: reads x twice (once in
/// layer norm and when given), writes y.
extern KernelSlot<void(const Tensor& x, const NormLayout& layout, const Tensor& weight,
                       const Tensor& bias, double eps, bool given, Tensor& mean, Tensor& var,
                       Tensor& y)>
    channel_norm;
/// Gradients of channel_norm with respect to x, weight and bias (the last two in
/// statistics_dtype()); an undefined gx, or gw and gb, are not wanted. g and x contiguous. Reads
/// both twice (once for gw and gb alone, for gx of given statistics, and in layer norm).
extern KernelSlot<void(const Tensor& g, const Tensor& x, const NormLayout& layout,
                       const Tensor& weight, double eps, bool given, const Tensor& mean,
                       const Tensor& var, Tensor& gx, Tensor& gw, Tensor& gb)>
    channel_norm_backward;
}  // namespace kernel

}  // namespace tessera

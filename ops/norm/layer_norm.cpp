#include "ops/norm/layer_norm.h"

#include "ops/index/view.h"
#include "ops/norm/channel_norm.h"

namespace tessera {

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias,
                  const LayerNormOptions& options) {
  TESSERA_CHECK(ValueError, options.axes >= 1 && options.axes <= x.rank(),
                "layer_norm: axes must lie "
                "in [1, ",
                x.rank(), "] for input ", x.shape(), ", got ", options.axes);
  Shape normalized;
  int64_t rows = 1;
  for (int axis = 0; axis < x.rank(); ++axis) {
    if (axis < x.rank() - options.axes) {
      rows *= x.shape()[axis];
    } else {
      normalized.push_back(x.shape()[axis]);
    }
  }
  const int64_t length = numel(normalized);
  check_norm_inputs(x, weight, bias, normalized, options.eps, "layer_norm");
  Tensor mean = empty({rows, 1}, statistics_dtype(x.dtype()), x.device());
  Tensor var = empty_like(mean);
  return channel_norm(
      x, {rows, 1, length, length}, weight.defined() ? reshape(weight, {length}) : weight,
      bias.defined() ? reshape(bias, {length}) : bias, options.eps, mean, var, false);
}

}  // namespace tessera

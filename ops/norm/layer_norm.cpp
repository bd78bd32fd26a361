#include "ops/norm/layer_norm.h"

#include <algorithm>

#include "ops/index/view.h"
#include "ops/norm/channel_norm.h"

namespace tessera {

Tensor layer_norm(const Tensor& x, const Shape& normalized, const Tensor& weight,
                  const Tensor& bias, double eps) {
  const int axes = normalized.rank();
  TESSERA_CHECK(ShapeError,
                axes >= 1 && axes <= x.rank() &&
                    std::equal(normalized.begin(), normalized.end(), x.shape().end() - axes),
                "layer_norm: input ", x.shape(), " does not end in the normalised axes ",
                normalized);
  check_norm_inputs(x, weight, bias, normalized, eps, "layer_norm");
  const int64_t length = numel(normalized);
  const int64_t rows = length ? x.numel() / length : 0;
  Tensor mean = empty({rows, 1}, statistics_dtype(x.dtype()), x.device());
  Tensor var = empty_like(mean);
  return channel_norm(x, {rows, 1, length, length},
                      weight.defined() ? reshape(weight, {length}) : weight,
                      bias.defined() ? reshape(bias, {length}) : bias, eps, mean, var, false);
}

}  // namespace tessera

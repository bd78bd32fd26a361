#include "ops/norm/instance_norm.h"

#include "ops/norm/channel_norm.h"

namespace tessera {

Tensor instance_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  TESSERA_CHECK(ShapeError, x.rank() >= 3,
                "instance_norm: expects (N, ..., C) with at least three axes, got ", x.shape());
  const int64_t batch = x.size(0), channels = x.size(-1);
  check_norm_inputs(x, weight, bias, {channels}, eps, "instance_norm");
  int64_t spatial = 1;
  for (int axis = 1; axis + 1 < x.rank(); ++axis) spatial *= x.shape()[axis];
  TESSERA_CHECK(ValueError, spatial > 1,
                "instance_norm: needs more than one position per channel, got input ", x.shape());
  Tensor mean = empty({batch, channels}, statistics_dtype(x.dtype()), x.device());
  Tensor var = empty_like(mean);
  return channel_norm(x, {batch, spatial, channels, 1}, weight, bias, eps, mean, var, false);
}

}  // namespace tessera

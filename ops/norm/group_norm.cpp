#include "ops/norm/group_norm.h"

#include "ops/norm/channel_norm.h"

namespace tessera {

Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& weight, const Tensor& bias,
                  double eps) {
  TESSERA_CHECK(ShapeError, x.rank() >= 2,
                "group_norm: expects (N, ..., C) with at least two axes, got ", x.shape());
  const int64_t batch = x.size(0), channels = x.size(-1);
  TESSERA_CHECK(ValueError, groups >= 1 && channels >= groups && channels % groups == 0,
                "group_norm: ", groups, " groups do not divide the ", channels,
                " channels of input ", x.shape());
  check_norm_inputs(x, weight, bias, {channels}, eps, "group_norm");
  int64_t spatial = 1;
  for (int axis = 1; axis + 1 < x.rank(); ++axis) spatial *= x.shape()[axis];
  Tensor mean = empty({batch, groups}, statistics_dtype(x.dtype()), x.device());
  Tensor var = empty_like(mean);
  return channel_norm(x, {batch, spatial, channels, channels / groups}, weight, bias, eps, mean,
                      var, false);
}

}  // namespace tessera

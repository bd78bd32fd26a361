#include "nn/layers/norm.h"

#include "autograd/node.h"
#include "ops/norm/batch_norm.h"
#include "ops/norm/group_norm.h"
#include "ops/norm/instance_norm.h"
#include "ops/norm/layer_norm.h"
#include "tensor/view.h"

namespace tessera::nn {

BatchNorm::BatchNorm(int64_t channels, Options o) : options(o) {
  if (o.affine) {
    weight = add_parameter("weight", ones({channels}));
    bias = add_parameter("bias", zeros({channels}));
  }
  running_mean = add_buffer("running_mean", zeros({channels}));
  running_var = add_buffer("running_var", ones({channels}));
  num_batches_tracked = add_buffer("num_batches_tracked", zeros({}, DType::i64));
}

Tensor BatchNorm::forward(const Tensor& x, const NormEpilogue& epilogue) {
  const Tensor y = batch_norm(
      x, weight, bias, running_mean, running_var,
      {.training = training(), .momentum = options.momentum, .eps = options.eps}, epilogue);
  if (training()) fill_(num_batches_tracked, num_batches_tracked.item() + 1);
  return y;
}

InstanceNorm::InstanceNorm(int64_t channels, Options o) : options(o) {
  if (!o.affine) return;
  weight = add_parameter("weight", ones({channels}));
  bias = add_parameter("bias", zeros({channels}));
}

Tensor InstanceNorm::forward(const Tensor& x) {
  return instance_norm(x, weight, bias, options.eps);
}

LayerNorm::LayerNorm(const Shape& s, double e) : shape(s), eps(e) {
  weight = add_parameter("weight", ones(s));
  bias = add_parameter("bias", zeros(s));
}

Tensor LayerNorm::forward(const Tensor& x) { return layer_norm(x, shape, weight, bias, eps); }

GroupNorm::GroupNorm(int64_t g, int64_t channels, double e) : groups(g), eps(e) {
  TESSERA_CHECK(ValueError, g > 0 && channels % g == 0, "GroupNorm: ", g, " groups do not divide ",
                channels, " channels");
  weight = add_parameter("weight", ones({channels}));
  bias = add_parameter("bias", zeros({channels}));
}

Tensor GroupNorm::forward(const Tensor& x) { return group_norm(x, groups, weight, bias, eps); }

}  // namespace tessera::nn

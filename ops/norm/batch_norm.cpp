#include "ops/norm/batch_norm.h"

#include "autograd/node.h"
#include "ops/norm/channel_norm.h"
#include "ops/pointwise/arithmetic.h"
#include "tensor/view.h"

namespace tessera {
namespace {

void check_running(const Tensor& x, const Tensor& running, const char* what) {
  if (!running.defined()) return;
  TESSERA_CHECK(ShapeError, running.numel() == x.size(-1), "batch_norm: ", what, " ",
                running.shape(), " does not fit input ", x.shape(), ", expected ", x.size(-1),
                " elements");
  TESSERA_CHECK(DTypeError, is_floating(running.dtype()), "batch_norm: ", what,
                " must be floating, got ", running.dtype());
}

void check_residual(const Tensor& x, const Tensor& residual) {
  if (!residual.defined()) return;
  TESSERA_CHECK(ShapeError, residual.shape() == x.shape(), "batch_norm: residual ",
                residual.shape(), " does not have the shape of input ", x.shape());
  TESSERA_CHECK(DTypeError, residual.dtype() == x.dtype(), "batch_norm: residual is ",
                residual.dtype(), ", the input ", x.dtype());
  TESSERA_CHECK(DeviceError, residual.device() == x.device(), "batch_norm: residual is on ",
                residual.device(), ", the input on ", x.device());
}

// (C) to the (1, C) statistics of channel_norm; always a copy, so that a later update of the
// running value does not reach the graph.
Tensor constant_statistic(const Tensor& running, DType dtype) {
  const Tensor copy = view::clone(view::to(running.detach(), dtype));
  return view::reshape(copy, {1, copy.numel()});
}

void move_towards(const Tensor& running, const Tensor& value, double momentum, double scale) {
  if (!running.defined()) return;
  NoGradGuard no_grad;
  Tensor target = view::reshape(view::to(value, running.dtype()), running.shape());
  if (scale != 1.0) target = target * scale;
  Tensor moved = running;
  lerp_(moved, target, momentum);
}

}  // namespace

Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias,
                  const Tensor& running_mean, const Tensor& running_var,
                  const BatchNormOptions& options, const NormEpilogue& epilogue) {
  TESSERA_CHECK(ShapeError, x.rank() >= 2,
                "batch_norm: expects (..., C) with at least two axes, got ", x.shape());
  const int64_t channels = x.size(-1);
  check_norm_inputs(x, weight, bias, {channels}, options.eps, "batch_norm");
  check_running(x, running_mean, "running_mean");
  check_running(x, running_var, "running_var");
  check_residual(x, epilogue.residual);
  const int64_t count = channels ? x.numel() / channels : 0;
  const NormLayout layout{1, count, channels, 1};
  const DType dtype = statistics_dtype(x.dtype());
  if (!options.training) {
    TESSERA_CHECK(ValueError, running_mean.defined() && running_var.defined(),
                  "batch_norm: evaluation needs running_mean and running_var");
    Tensor mean = constant_statistic(running_mean, dtype);
    Tensor var = constant_statistic(running_var, dtype);
    return channel_norm(x, layout, weight, bias, options.eps, mean, var, true, epilogue);
  }
  TESSERA_CHECK(ValueError, count > 1,
                "batch_norm: training needs more than one value per channel, got input ",
                x.shape());
  Tensor mean = empty({1, channels}, dtype, x.device()), var = empty_like(mean);
  Tensor y = channel_norm(x, layout, weight, bias, options.eps, mean, var, false, epilogue);
  move_towards(running_mean, mean, options.momentum, 1.0);
  move_towards(running_var, var, options.momentum,
               static_cast<double>(count) / static_cast<double>(count - 1));
  return y;
}

}  // namespace tessera

#include "ops/conv/conv2d.h"

#include "autograd/apply.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/reduce/sum.h"
#include "tensor/view.h"

namespace tessera {
namespace {

void check_options(std::string_view op, const Conv2dOptions& o) {
  TESSERA_CHECK(ValueError, in_option_range(o.stride, 1), op,
                ": stride must be at least 1 (and below 2^31), got ", o.stride);
  TESSERA_CHECK(ValueError, in_option_range(o.padding, 0), op,
                ": padding must not be negative (and below 2^31), got ", o.padding);
  TESSERA_CHECK(ValueError, in_option_range(o.dilation, 1), op,
                ": dilation must be at least 1 (and below 2^31), got ", o.dilation);
  TESSERA_CHECK(ValueError, o.groups >= 1, op, ": groups must be at least 1, got ", o.groups);
}

int64_t out_size(int64_t in, int64_t k, int64_t stride, int64_t padding, int64_t dilation) {
  const int64_t room = in + 2 * padding - dilation * (k - 1) - 1;
  return room < 0 ? 0 : room / stride + 1;
}

// The shape of the convolution of x by w; throws when they do not fit.
Shape output_shape(std::string_view op, const Shape& x, const Shape& w, const Conv2dOptions& o) {
  check_options(op, o);
  TESSERA_CHECK(ShapeError, x.rank() == 4, op, ": input must be (N, H, W, C), got ", x);
  TESSERA_CHECK(ShapeError, w.rank() == 4, op, ": weight must be (O, KH, KW, C / groups), got ", w,
                " for input ", x);
  TESSERA_CHECK(ShapeError, w[1] >= 1 && w[2] >= 1, op, ": weight ", w,
                " has an empty filter, input ", x);
  TESSERA_CHECK(ShapeError, x[3] == w[3] * o.groups, op, ": weight ", w, " with groups=", o.groups,
                " expects ", w[3] * o.groups, " input channels, got input ", x);
  TESSERA_CHECK(ShapeError, w[0] % o.groups == 0, op, ": weight ", w, " has ", w[0],
                " output channels, which groups=", o.groups, " does not divide (input ", x, ")");
  const Shape y{x[0], out_size(x[1], w[1], o.stride.h, o.padding.h, o.dilation.h),
                out_size(x[2], w[2], o.stride.w, o.padding.w, o.dilation.w), w[0]};
  TESSERA_CHECK(ShapeError, y[1] >= 1 && y[2] >= 1, op, ": weight ", w, " with dilation ",
                o.dilation, " is larger than input ", x, " with padding ", o.padding);
  return y;
}

void check_pair(std::string_view op, const Tensor& a, const Tensor& b, const char* what) {
  TESSERA_CHECK(DTypeError, is_floating(a.dtype()) && a.dtype() == b.dtype(), op,
                ": needs one floating dtype, got ", a.dtype(), " and ", what, " ", b.dtype());
  TESSERA_CHECK(DeviceError, a.device() == b.device(), op, ": input on ", a.device(), ", ", what,
                " on ", b.device());
}

void check_bias(std::string_view op, const Tensor& bias, const Tensor& x, int64_t channels) {
  if (!bias.defined()) return;
  check_pair(op, x, bias, "bias");
  TESSERA_CHECK(ShapeError, bias.shape() == Shape{channels}, op, ": bias must be [", channels,
                "], got ", bias.shape(), " for input ", x.shape());
}

// Every element of y (or of its gradient) meets one filter, in each of the three passes.
int64_t flops_of_pass(const Tensor& y, const Tensor& w) {
  return 2 * y.numel() * w.size(1) * w.size(2) * w.size(3);
}

// A tensor is saved only where the gradient that reads it can be asked for.
Tensor if_needed(const Ctx& ctx, int input, const Tensor& t) {
  return ctx.needs_grad(input) ? t : Tensor();
}

struct Conv2d {
  static constexpr std::string_view name = "conv2d";
  Conv2dOptions options;
  Shape x_shape, w_shape, y_shape;

  Tensor forward(Ctx& ctx, const Tensor& x, const Tensor& w, const Tensor& bias) const {
    ctx.save({if_needed(ctx, 1, x), if_needed(ctx, 0, w)});
    Tensor y = empty(y_shape, x.dtype(), x.device());
    if (y.numel() == 0) return y;
    const ConvEpilogue epilogue{.bias = bias.defined() ? view::contiguous(bias) : bias};
    kernel::conv2d(x.device(), view::contiguous(x), view::contiguous(w), epilogue, options, y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    return {ctx.needs_grad(0) ? conv2d_input_grad(g, ctx.saved(1), x_shape, options) : Tensor(),
            ctx.needs_grad(1) ? conv2d_weight_grad(g, ctx.saved(0), w_shape, options) : Tensor(),
            ctx.needs_grad(2) ? sum(g, {0, 1, 2}) : Tensor()};
  }
};

struct Conv2dInputGrad {
  static constexpr std::string_view name = "conv2d_input_grad";
  Conv2dOptions options;
  Shape x_shape, w_shape;

  Tensor forward(Ctx& ctx, const Tensor& g, const Tensor& w) const {
    ctx.save({if_needed(ctx, 1, g), if_needed(ctx, 0, w)});
    if (numel(x_shape) == 0) return empty(x_shape, g.dtype(), g.device());
    if (g.numel() == 0) return zeros(x_shape, g.dtype(), g.device());
    Tensor gx = empty(x_shape, g.dtype(), g.device());
    kernel::conv2d_input_grad(g.device(), view::contiguous(g), view::contiguous(w), options, gx);
    return gx;
  }
  Grads backward(const Ctx& ctx, const Tensor& h) const {
    return {ctx.needs_grad(0) ? conv2d(h, ctx.saved(1), {}, options) : Tensor(),
            ctx.needs_grad(1) ? conv2d_weight_grad(ctx.saved(0), h, w_shape, options) : Tensor()};
  }
};

struct Conv2dWeightGrad {
  static constexpr std::string_view name = "conv2d_weight_grad";
  Conv2dOptions options;
  Shape x_shape, w_shape;

  Tensor forward(Ctx& ctx, const Tensor& g, const Tensor& x) const {
    ctx.save({if_needed(ctx, 1, g), if_needed(ctx, 0, x)});
    if (numel(w_shape) == 0) return empty(w_shape, g.dtype(), g.device());
    if (g.numel() == 0) return zeros(w_shape, g.dtype(), g.device());
    Tensor gw = empty(w_shape, g.dtype(), g.device());
    kernel::conv2d_weight_grad(g.device(), view::contiguous(g), view::contiguous(x), options, gw);
    return gw;
  }
  Grads backward(const Ctx& ctx, const Tensor& h) const {
    return {ctx.needs_grad(0) ? conv2d(ctx.saved(1), h, {}, options) : Tensor(),
            ctx.needs_grad(1) ? conv2d_input_grad(ctx.saved(0), h, x_shape, options) : Tensor()};
  }
};

}  // namespace

namespace kernel {
constinit KernelSlot<void(const Tensor&, const Tensor&, const ConvEpilogue&, const Conv2dOptions&,
                          Tensor&)>
    conv2d{"conv2d", [](const Tensor&, const Tensor& w, const ConvEpilogue&, const Conv2dOptions&,
                        Tensor& y) { return flops_of_pass(y, w); }};
constinit KernelSlot<void(const Tensor&, const Tensor&, const Conv2dOptions&, Tensor&)>
    conv2d_input_grad{"conv2d_input_grad",
                      [](const Tensor& g, const Tensor& w, const Conv2dOptions&, Tensor&) {
                        return flops_of_pass(g, w);
                      }};
constinit KernelSlot<void(const Tensor&, const Tensor&, const Conv2dOptions&, Tensor&)>
    conv2d_weight_grad{"conv2d_weight_grad",
                       [](const Tensor& g, const Tensor&, const Conv2dOptions&, Tensor& gw) {
                         return flops_of_pass(g, gw);
                       }};
}  // namespace kernel

Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dOptions& options) {
  check_pair("conv2d", x, w, "weight");
  const Shape y = output_shape("conv2d", x.shape(), w.shape(), options);
  check_bias("conv2d", bias, x, w.size(0));
  return apply(Conv2d{options, x.shape(), w.shape(), y}, x, w, bias);
}

Tensor conv2d_fused(const Tensor& x, const Tensor& w, const ConvEpilogue& epilogue,
                    const Conv2dOptions& options) {
  constexpr std::string_view op = "conv2d_fused";
  check_pair(op, x, w, "weight");
  const Shape shape = output_shape(op, x.shape(), w.shape(), options);
  check_bias(op, epilogue.bias, x, w.size(0));
  TESSERA_CHECK(Error, !is_recorded({x, w, epilogue.bias, epilogue.residual}), op,
                ": is for inference and records no gradient; use conv2d");
  ConvEpilogue dense = epilogue;
  dense.weights_stay = true;
  if (dense.bias.defined()) dense.bias = view::contiguous(dense.bias);
  if (dense.residual.defined()) {
    check_pair(op, x, dense.residual, "residual");
    TESSERA_CHECK(ShapeError, dense.residual.shape() == shape, op, ": residual ",
                  dense.residual.shape(), " differs from the output ", shape);
    dense.residual = view::contiguous(dense.residual);
  }
  Tensor y = empty(shape, x.dtype(), x.device());
  if (y.numel() > 0)
    kernel::conv2d(x.device(), view::contiguous(x), view::contiguous(w), dense, options, y);
  return y;
}

Tensor conv2d_input_grad(const Tensor& g, const Tensor& w, const Shape& input_shape,
                         const Conv2dOptions& options) {
  check_pair("conv2d_input_grad", g, w, "weight");
  const Shape y = output_shape("conv2d_input_grad", input_shape, w.shape(), options);
  TESSERA_CHECK(ShapeError, g.shape() == y, "conv2d_input_grad: gradient ", g.shape(),
                " does not match the output ", y, " of input ", input_shape, " and weight ",
                w.shape());
  return apply(Conv2dInputGrad{options, input_shape, w.shape()}, g, w);
}

Tensor conv2d_weight_grad(const Tensor& g, const Tensor& x, const Shape& weight_shape,
                          const Conv2dOptions& options) {
  check_pair("conv2d_weight_grad", g, x, "input");
  const Shape y = output_shape("conv2d_weight_grad", x.shape(), weight_shape, options);
  TESSERA_CHECK(ShapeError, g.shape() == y, "conv2d_weight_grad: gradient ", g.shape(),
                " does not match the output ", y, " of input ", x.shape(), " and weight ",
                weight_shape);
  return apply(Conv2dWeightGrad{options, x.shape(), weight_shape}, g, x);
}

Tensor conv_transpose2d(const Tensor& x, const Tensor& w, const Tensor& bias,
                        const ConvTranspose2dOptions& o) {
  constexpr std::string_view op = "conv_transpose2d";
  check_pair(op, x, w, "weight");
  const Conv2dOptions forward{o.stride, o.padding, o.dilation, o.groups};
  check_options(op, forward);
  const Shape &xs = x.shape(), &ws = w.shape();
  TESSERA_CHECK(ShapeError, xs.rank() == 4, op, ": input must be (N, H, W, I), got ", xs);
  TESSERA_CHECK(ShapeError, ws.rank() == 4, op, ": weight must be (I, KH, KW, O / groups), got ",
                ws, " for input ", xs);
  TESSERA_CHECK(ShapeError, xs[3] == ws[0], op, ": weight ", ws, " expects ", ws[0],
                " input channels, got input ", xs);
  TESSERA_CHECK(ShapeError, ws[0] % o.groups == 0, op, ": groups=", o.groups,
                " does not divide the ", ws[0], " input channels of weight ", ws, ", input ", xs);
  TESSERA_CHECK(ShapeError, xs[1] >= 1 && xs[2] >= 1 && ws[1] >= 1 && ws[2] >= 1, op, ": input ",
                xs, " or weight ", ws, " has no pixels");
  const Size2 extra = o.output_padding;
  TESSERA_CHECK(
      ValueError, extra.h >= 0 && extra.w >= 0 && extra.h < o.stride.h && extra.w < o.stride.w, op,
      ": output_padding ", extra, " must not be negative and be smaller than stride ", o.stride);
  const Shape out{
      xs[0], (xs[1] - 1) * o.stride.h - 2 * o.padding.h + o.dilation.h * (ws[1] - 1) + extra.h + 1,
      (xs[2] - 1) * o.stride.w - 2 * o.padding.w + o.dilation.w * (ws[2] - 1) + extra.w + 1,
      ws[3] * o.groups};
  TESSERA_CHECK(ShapeError, out[1] >= 1 && out[2] >= 1, op, ": input ", xs, " and weight ", ws,
                " with padding ", o.padding, " leave no output (", out, ")");
  check_bias(op, bias, x, out[3]);
  Tensor y = conv2d_input_grad(x, w, out, forward);
  return bias.defined() ? y + bias : y;
}

}  // namespace tessera

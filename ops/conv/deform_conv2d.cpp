#include "ops/conv/deform_conv2d.h"

#include <array>

#include "autograd/apply.h"
#include "autograd/engine.h"
#include "ops/conv/conv2d.h"
#include "ops/index/gather.h"
#include "ops/index/view.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/comparison.h"
#include "ops/pointwise/rounding.h"
#include "ops/pointwise/where.h"
#include "ops/reduce/sum.h"
#include "tensor/view.h"

namespace tessera {
namespace {

Tensor dense(const Tensor& t) { return t.defined() ? view::contiguous(t) : t; }

// Sizes of the columns; throws when the operands do not fit.
Shape check_columns(std::string_view op, const Tensor& x, const Tensor& offset, const Tensor& mask,
                    Size2 k, const DeformConv2dOptions& o) {
  TESSERA_CHECK(ValueError,
                in_option_range(o.stride, 1) && in_option_range(o.dilation, 1) &&
                    in_option_range(o.padding, 0),
                op, ": needs stride and dilation >= 1 and padding >= 0 (below 2^31), got ",
                o.stride, ", ", o.dilation, ", ", o.padding);
  TESSERA_CHECK(ValueError, o.groups >= 1 && o.deform_groups >= 1, op,
                ": groups and deform_groups must be at least 1, got ", o.groups, " and ",
                o.deform_groups);
  const Shape &xs = x.shape(), &os = offset.shape();
  TESSERA_CHECK(ShapeError, xs.rank() == 4 && os.rank() == 4, op,
                ": input and offset must be (N, H, W, C), got ", xs, " and ", os);
  TESSERA_CHECK(DTypeError,
                is_floating(x.dtype()) && offset.dtype() == x.dtype() &&
                    (!mask.defined() || mask.dtype() == x.dtype()),
                op, ": needs one floating dtype, got ", x.dtype(), " and offset ", offset.dtype());
  TESSERA_CHECK(ShapeError, k.h >= 1 && k.w >= 1, op, ": empty filter ", k, " for input ", xs);
  TESSERA_CHECK(ShapeError, xs[3] % o.groups == 0 && xs[3] % o.deform_groups == 0, op,
                ": groups=", o.groups, " and deform_groups=", o.deform_groups,
                " must divide the channels of input ", xs);
  const int64_t room_h = xs[1] + 2 * o.padding.h - o.dilation.h * (k.h - 1) - 1;
  const int64_t room_w = xs[2] + 2 * o.padding.w - o.dilation.w * (k.w - 1) - 1;
  TESSERA_CHECK(ShapeError, room_h >= 0 && room_w >= 0, op, ": filter ", k, " with dilation ",
                o.dilation, " is larger than input ", xs, " with padding ", o.padding);
  const int64_t ho = room_h / o.stride.h + 1, wo = room_w / o.stride.w + 1;
  const int64_t taps = o.deform_groups * k.h * k.w;
  const Shape want{xs[0], ho, wo, 2 * taps};
  TESSERA_CHECK(ShapeError, os == want, op, ": offset must be ", want, ", got ", os, " for input ",
                xs, " and filter ", k);
  const Shape want_mask{xs[0], ho, wo, taps};
  TESSERA_CHECK(ShapeError, !mask.defined() || mask.shape() == want_mask, op, ": mask must be ",
                want_mask, ", got ", mask.defined() ? mask.shape() : Shape{}, " for input ", xs,
                " and filter ", k);
  return {xs[0], ho, wo, k.h * k.w * xs[3]};
}

// The pieces of the samples that are linear in the offsets, per (N, Ho, Wo, deform group, tap): the
// position between pixels is slope * offset + shift; corner k = 2 * dy + dx is row index[k] of the
// (pixels * deform groups, channels) image and counts valid[k] (0 or 1).
struct Corners {
  Tensor slope, shift_h, shift_w;
  std::array<Tensor, 4> index, valid;
};

// Coordinates that do not depend on the data, at(i) for i in [0, count).
template <class At>
Tensor coordinates(int64_t count, const Shape& shape, const Tensor& like, const At& at) {
  std::vector<int64_t> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) values[static_cast<size_t>(i)] = at(i);
  return from_vector(values, shape, like.device());
}

Corners corners_of(const Shape& x, const Tensor& offset, Size2 k, const DeformConv2dOptions& o) {
  const int64_t n = x[0], ho = offset.size(1), wo = offset.size(2), sets = o.deform_groups,
                taps = k.h * k.w;
  const Tensor moves = reshape(offset, {n, ho, wo, sets, taps, 2});
  const auto floating = [&](const Tensor& t) { return view::to(t, offset.dtype()); };
  const Tensor base_h = floating(coordinates(ho * taps, {ho, 1, 1, taps}, offset, [&](int64_t i) {
    return i / taps * o.stride.h - o.padding.h + i % taps / k.w * o.dilation.h;
  }));
  const Tensor base_w = floating(coordinates(wo * taps, {wo, 1, taps}, offset, [&](int64_t i) {
    return i / taps * o.stride.w - o.padding.w + i % taps % k.w * o.dilation.w;
  }));
  const Tensor image = coordinates(n * sets, {n, 1, 1, sets, 1}, offset, [&](int64_t i) {
    return i / sets * x[1] * x[2] * sets + i % sets;
  });
  const auto height = static_cast<double>(x[1]), width = static_cast<double>(x[2]);
  const Tensor h = base_h + select(moves, -1, 0), w = base_w + select(moves, -1, 1);
  const Tensor inside =
      logical_and(logical_and(gt(h, -1), lt(h, height)), logical_and(gt(w, -1), lt(w, width)));
  const Tensor none = zeros({}, offset.dtype(), offset.device());
  const Tensor top = floor(where(inside, h, none)), left = floor(where(inside, w, none));
  Corners corners{floating(inside),
                  where(inside, base_h - top, none),
                  where(inside, base_w - left, none),
                  {},
                  {}};
  for (int c = 0; c < 4; ++c) {
    const Tensor row = top + c / 2, col = left + c % 2;
    const Tensor in_rows = logical_and(ge(row, 0), lt(row, height));
    const Tensor in_cols = logical_and(ge(col, 0), lt(col, width));
    const Tensor valid = logical_and(inside, logical_and(in_rows, in_cols));
    // In integers: f32 cannot count the pixels of many images.
    const Tensor pixel =
        view::to(row, DType::i64) * static_cast<double>(x[2]) + view::to(col, DType::i64);
    const auto at = static_cast<size_t>(c);
    corners.index[at] = where(valid, pixel * static_cast<double>(sets) + image,
                              zeros({}, DType::i64, offset.device()));
    corners.valid[at] = floating(valid);
  }
  return corners;
}

// deform_columns from public operators: what the second order differentiates.
Tensor columns_composite(const Tensor& x, const Tensor& offset, const Tensor& mask, Size2 k,
                         const DeformConv2dOptions& o) {
  const int64_t n = x.size(0), ho = offset.size(1), wo = offset.size(2), c = x.size(3);
  const int64_t taps = k.h * k.w, sets = o.deform_groups;
  const Corners at = corners_of(x.shape(), offset.detach(), k, o);
  const Tensor moves = reshape(offset, {n, ho, wo, sets, taps, 2});
  const Tensor h = at.slope * select(moves, -1, 0) + at.shift_h;
  const Tensor w = at.slope * select(moves, -1, 1) + at.shift_w;
  const Tensor pixels = reshape(x, {n * x.size(1) * x.size(2) * sets, c / sets});
  Tensor columns;
  for (int64_t corner = 0; corner < 4; ++corner) {
    const Tensor weight = (corner / 2 ? h : 1.0 - h) * (corner % 2 ? w : 1.0 - w);
    const auto c4 = static_cast<size_t>(corner);
    const Tensor part = unsqueeze(weight * at.valid[c4], -1) * take_rows(pixels, at.index[c4]);
    columns = columns.defined() ? columns + part : part;
  }
  if (mask.defined()) columns = columns * reshape(mask, {n, ho, wo, sets, taps, 1});
  columns = permute(columns, {0, 1, 2, 4, 3, 5});  // (..., taps, deform groups, channels)
  columns = reshape(columns, {n, ho, wo, taps, o.groups, c / o.groups});
  return reshape(permute(columns, {0, 1, 2, 4, 3, 5}), {n, ho, wo, taps * c});
}

// Inputs: gradient of the columns, x, offset, mask. Outputs: gradients of the last three.
struct DeformColumnsGrad {
  static constexpr std::string_view name = "deform_columns_grad";
  Size2 kernel;
  DeformConv2dOptions options;
  bool want_x, want_sampling;

  Tensors forward(Ctx& ctx, const Tensors& in) const {
    ctx.save({in[0], in[1], in[2], in[3]});
    const Tensor &g = in[0], &x = in[1], &offset = in[2], &mask = in[3];
    Tensor gx = want_x ? empty_like(x) : Tensor();
    Tensor goffset = want_sampling ? empty_like(offset) : Tensor();
    Tensor gmask = want_sampling && mask.defined() ? empty_like(mask) : Tensor();
    if (g.numel() > 0) {
      kernel::deform_columns_grad(x.device(), dense(g), dense(x), dense(offset), dense(mask),
                                  kernel, options, gx, goffset, gmask);
    } else {
      for (Tensor* t : {&gx, &goffset, &gmask})
        if (t->defined()) fill_(*t, 0);
    }
    return {gx, goffset, gmask};
  }
  Grads backward(const Ctx& ctx, const Grads& gg) const {
    const std::vector<bool> wanted{want_x, want_sampling, want_sampling && ctx.saved(3).defined()};
    Tensors wanted_gg;
    for (size_t i = 0; i < wanted.size(); ++i)
      if (wanted[i]) wanted_gg.push_back(gg[i]);
    const auto first_order = [&](const Tensors& in) {
      const Grads grads = composite_vjp(
          [this](const Tensors& v) {
            return Tensors{columns_composite(v[0], v[1], v[2], kernel, options)};
          },
          {in[1], in[2], in[3]}, {in[0]}, wanted);
      Tensors out;
      for (size_t i = 0; i < wanted.size(); ++i)
        if (wanted[i]) out.push_back(grads[i]);
      return out;
    };
    return composite_vjp(
        first_order, {ctx.saved(0), ctx.saved(1), ctx.saved(2), ctx.saved(3)}, wanted_gg,
        {ctx.needs_grad(0), ctx.needs_grad(1), ctx.needs_grad(2), ctx.needs_grad(3)});
  }
};

struct DeformColumns {
  static constexpr std::string_view name = "deform_columns";
  Size2 kernel;
  DeformConv2dOptions options;
  Shape shape;

  Tensor forward(Ctx& ctx, const Tensor& x, const Tensor& offset, const Tensor& mask) const {
    ctx.save({x, offset, mask});
    Tensor columns = empty(shape, x.dtype(), x.device());
    if (columns.numel() > 0)
      kernel::deform_columns(x.device(), dense(x), dense(offset), dense(mask), kernel, options,
                             columns);
    return columns;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    return apply_list(DeformColumnsGrad{kernel, options, ctx.needs_grad(0),
                                        ctx.needs_grad(1) || ctx.needs_grad(2)},
                      {g, ctx.saved(0), ctx.saved(1), ctx.saved(2)});
  }
};

// The columns times the filters, a convolution with 1 x 1 filters. The columns are made image by
// image and made again in backward instead of being kept: they are KH * KW times x.
struct DeformConv2d {
  static constexpr std::string_view name = "deform_conv2d";
  DeformConv2dOptions options;
  Shape columns_shape, w_shape;

  Size2 filter() const { return {w_shape[1], w_shape[2]}; }
  Shape flat_w() const { return {w_shape[0], 1, 1, w_shape[1] * w_shape[2] * w_shape[3]}; }

  Tensor forward(Ctx& ctx, const Tensor& x, const Tensor& offset, const Tensor& mask,
                 const Tensor& w, const Tensor& bias) const {
    ctx.save({x, offset, mask, w});
    const Shape& c = columns_shape;
    Tensor y = empty({c[0], c[1], c[2], w_shape[0]}, x.dtype(), x.device());
    if (y.numel() == 0) return y;
    const Tensor flat = view::reshape(dense(w), flat_w()), dense_bias = dense(bias);
    const Tensor dx = dense(x), doff = dense(offset), dmask = dense(mask);
    Tensor columns = empty({1, c[1], c[2], c[3]}, x.dtype(), x.device());
    for (int64_t n = 0; n < c[0]; ++n) {
      const auto image = [n](const Tensor& t) {
        return t.defined() ? view::slice(t, 0, n, n + 1) : t;
      };
      if (columns.numel() > 0)
        kernel::deform_columns(x.device(), image(dx), image(doff), image(dmask), filter(), options,
                               columns);
      Tensor out = image(y);
      kernel::conv2d(x.device(), columns, flat, {dense_bias}, {.groups = options.groups}, out);
    }
    return y;
  }

  Grads backward(const Ctx& ctx, const Tensor& g) const {
    const Tensor x = ctx.saved(0), offset = ctx.saved(1), mask = ctx.saved(2), w = ctx.saved(3);
    const Conv2dOptions product{.groups = options.groups};
    Grads grads(5);
    if (ctx.needs_grad(0) || ctx.needs_grad(1) || ctx.needs_grad(2)) {
      const Tensor gcolumns = conv2d_input_grad(g, reshape(w, flat_w()), columns_shape, product);
      const Tensors parts = apply_list(DeformColumnsGrad{filter(), options, ctx.needs_grad(0),
                                                         ctx.needs_grad(1) || ctx.needs_grad(2)},
                                       {gcolumns, x, offset, mask});
      std::copy(parts.begin(), parts.end(), grads.begin());
    }
    if (ctx.needs_grad(3)) {
      const Tensor columns = deform_columns(x, offset, mask, filter(), options);
      grads[3] = reshape(conv2d_weight_grad(g, columns, flat_w(), product), w_shape);
    }
    if (ctx.needs_grad(4)) grads[4] = sum(g, {0, 1, 2});
    return grads;
  }
};

}  // namespace

namespace kernel {
constinit KernelSlot<void(const Tensor&, const Tensor&, const Tensor&, Size2,
                          const DeformConv2dOptions&, Tensor&)>
    deform_columns{"deform_columns"};
constinit KernelSlot<void(const Tensor&, const Tensor&, const Tensor&, const Tensor&, Size2,
                          const DeformConv2dOptions&, Tensor&, Tensor&, Tensor&)>
    deform_columns_grad{"deform_columns_grad"};
}  // namespace kernel

Tensor deform_columns(const Tensor& x, const Tensor& offset, const Tensor& mask, Size2 kernel,
                      const DeformConv2dOptions& options) {
  const Shape shape = check_columns("deform_columns", x, offset, mask, kernel, options);
  return apply(DeformColumns{kernel, options, shape}, x, offset, mask);
}

Tensor deform_conv2d(const Tensor& x, const Tensor& offset, const Tensor& mask, const Tensor& w,
                     const Tensor& bias, const DeformConv2dOptions& options) {
  constexpr std::string_view op = "deform_conv2d";
  const Shape& ws = w.shape();
  TESSERA_CHECK(ShapeError, ws.rank() == 4, op, ": weight must be (O, KH, KW, C / groups), got ",
                ws, " for input ", x.shape());
  TESSERA_CHECK(DTypeError, w.dtype() == x.dtype(), op, ": input is ", x.dtype(), ", weight ",
                w.dtype());
  const Shape columns = check_columns(op, x, offset, mask, {ws[1], ws[2]}, options);
  TESSERA_CHECK(ShapeError, ws[3] * options.groups == x.size(3) && ws[0] % options.groups == 0, op,
                ": weight ", ws, " with groups=", options.groups, " expects ",
                ws[3] * options.groups, " input channels and a multiple of ", options.groups,
                " outputs, got input ", x.shape());
  TESSERA_CHECK(ShapeError, !bias.defined() || bias.shape() == Shape{ws[0]}, op, ": bias must be [",
                ws[0], "], got ", bias.defined() ? bias.shape() : Shape{}, " for input ",
                x.shape());
  return apply(DeformConv2d{options, columns, ws}, x, offset, mask, w, bias);
}

}  // namespace tessera

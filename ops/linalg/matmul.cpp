#include "ops/linalg/matmul.h"

#include "autograd/apply.h"
#include "ops/index/view.h"
#include "ops/linalg/gemm.h"
#include "ops/reduce/sum.h"
#include "tensor/view.h"

namespace tessera {
namespace {

void check_operands(const Tensor& a, const Tensor& b, std::string_view op) {
  TESSERA_CHECK(DTypeError, is_floating(a.dtype()) && a.dtype() == b.dtype(), op,
                ": needs one floating dtype, got ", a.dtype(), " ", a.shape(), " and ", b.dtype(),
                " ", b.shape());
  TESSERA_CHECK(DeviceError, a.device() == b.device(), op, ": devices ", a.device(), " and ",
                b.device(), " differ");
}

struct BmmOp {
  static constexpr std::string_view name = "bmm";
  Tensor forward(Ctx& ctx, const Tensor& a, const Tensor& b) const {
    check_operands(a, b, name);
    TESSERA_CHECK(
        ShapeError,
        a.rank() == 3 && b.rank() == 3 && a.size(0) == b.size(0) && a.size(2) == b.size(1),
        "bmm: ", a.shape(), " x ", b.shape(), " does not fit (B, M, K) x (B, K, N)");
    ctx.save({a, b});
    Tensor y = empty({a.size(0), a.size(1), b.size(2)}, a.dtype(), a.device());
    kernel::gemm(a.device(), a, b, Tensor(), y);
    return y;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    return {ctx.needs_grad(0) ? bmm(g, transpose(ctx.saved(1), 1, 2)) : Tensor(),
            ctx.needs_grad(1) ? bmm(transpose(ctx.saved(0), 1, 2), g) : Tensor()};
  }
};

// x (M, in), weight (out, in).
struct LinearOp {
  static constexpr std::string_view name = "linear";
  Tensor forward(Ctx& ctx, const Tensor& x, const Tensor& weight, const Tensor& bias) const {
    ctx.save({x, weight});
    Tensor y = empty({1, x.size(0), weight.size(0)}, x.dtype(), x.device());
    kernel::gemm(x.device(), view::unsqueeze(x, 0),
                 view::unsqueeze(view::transpose(weight, 0, 1), 0),
                 bias.defined() ? view::contiguous(bias) : bias, y);
    return view::squeeze(y, 0);
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    return {ctx.needs_grad(0) ? matmul(g, ctx.saved(1)) : Tensor(),
            ctx.needs_grad(1) ? matmul(transpose(g, 0, 1), ctx.saved(0)) : Tensor(),
            ctx.needs_grad(2) ? sum(g, {0}) : Tensor()};
  }
};

Shape leading(const Tensor& t) {
  Shape s = t.shape();
  s.erase(s.rank() - 1);
  s.erase(s.rank() - 1);
  return s;
}

// The last two axes behind one batch axis.
Tensor as_batch(const Tensor& t, const Shape& batch, int64_t count) {
  Shape full = batch;
  full.push_back(t.size(-2));
  full.push_back(t.size(-1));
  return reshape(t.shape() == full ? t : broadcast_to(t, full), {count, t.size(-2), t.size(-1)});
}

// Both operands at least 2-D.
Tensor matmul_matrices(const Tensor& a, const Tensor& b) {
  TESSERA_CHECK(ShapeError, a.size(-1) == b.size(-2), "matmul: ", a.shape(), " x ", b.shape(),
                ": the inner sizes ", a.size(-1), " and ", b.size(-2), " differ");
  const int64_t m = a.size(-2), k = a.size(-1), n = b.size(-1);
  if (b.rank() == 2) {  // one matrix on the right: all rows of a in one product
    Shape out = leading(a);
    const int64_t rows = numel(out) * m;
    out.push_back(m);
    out.push_back(n);
    return reshape(bmm(reshape(a, {1, rows, k}), unsqueeze(b, 0)), out);
  }
  const Shape batch = broadcast_shapes(leading(a), leading(b), "matmul");
  const int64_t count = numel(batch);
  Shape out = batch;
  out.push_back(m);
  out.push_back(n);
  return reshape(bmm(as_batch(a, batch, count), as_batch(b, batch, count)), out);
}

}  // namespace

Tensor bmm(const Tensor& a, const Tensor& b) { return apply(BmmOp{}, a, b); }

Tensor matmul(const Tensor& a, const Tensor& b) {
  check_operands(a, b, "matmul");
  TESSERA_CHECK(ShapeError, a.rank() >= 1 && b.rank() >= 1, "matmul: ", a.shape(), " x ", b.shape(),
                ": a scalar is no matrix; multiply with *");
  const bool row = a.rank() == 1, column = b.rank() == 1;
  Tensor y = matmul_matrices(row ? unsqueeze(a, 0) : a, column ? unsqueeze(b, 1) : b);
  if (column) y = squeeze(y, -1);
  return row ? squeeze(y, column ? -1 : -2) : y;
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  check_operands(x, weight, "linear");
  TESSERA_CHECK(ShapeError, x.rank() >= 1 && weight.rank() == 2 && x.size(-1) == weight.size(1),
                "linear: input ", x.shape(), " and weight ", weight.shape(),
                " do not fit (..., in) and (out, in)");
  if (bias.defined()) {
    check_operands(x, bias, "linear");
    TESSERA_CHECK(ShapeError, bias.shape() == Shape{weight.size(0)}, "linear: bias ", bias.shape(),
                  " for weight ", weight.shape(), ", expected one per output");
  }
  Shape out = x.shape();
  out[out.rank() - 1] = weight.size(0);
  int64_t rows = 1;
  for (int i = 0; i + 1 < x.rank(); ++i) rows *= x.shape()[i];
  const Tensor flat = x.rank() == 2 ? x : reshape(x, {rows, x.size(-1)});
  const Tensor y = apply(LinearOp{}, flat, weight, bias);
  return x.rank() == 2 ? y : reshape(y, out);
}

Tensor outer(const Tensor& a, const Tensor& b) {
  TESSERA_CHECK(ShapeError, a.rank() == 1 && b.rank() == 1, "outer: needs two vectors, got ",
                a.shape(), " and ", b.shape());
  return matmul(unsqueeze(a, 1), unsqueeze(b, 0));
}

Tensor dot(const Tensor& a, const Tensor& b) {
  TESSERA_CHECK(ShapeError, a.rank() == 1 && a.shape() == b.shape(),
                "dot: needs two vectors of one length, got ", a.shape(), " and ", b.shape());
  return matmul(a, b);
}

}  // namespace tessera

#include "ops/loss/cross_entropy.h"

#include "autograd/apply.h"
#include "autograd/engine.h"
#include "ops/index/gather.h"
#include "ops/index/view.h"
#include "ops/norm/softmax.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/comparison.h"
#include "ops/pointwise/where.h"
#include "ops/reduce/sum.h"
#include "tensor/view.h"

namespace tessera {
namespace {

// Throws where the indices or weights were overwritten since forward saved them at `first`.
ClassTargets unchanged(const ClassTargets& t, const Ctx& ctx, int first) {
  return {ctx.saved(first), ctx.saved(first + 1), t.smoothing, t.ignore};
}

// The rows that count, (rows), as 1 and 0 in `dtype`.
Tensor counted(const ClassTargets& t, DType dtype) {
  return view::to(ne(t.index, static_cast<double>(t.ignore)), dtype);
}

// The distributions q, (rows, classes), as a constant like `like`.
Tensor dense_targets(const ClassTargets& t, const Tensor& like) {
  const int64_t rows = like.size(0), classes = like.size(1);
  const Tensor every = view::reshape(arange(classes, DType::i64, like.device()), {1, classes});
  const Tensor hits = view::to(eq(view::reshape(t.index, {rows, 1}), every), like.dtype());
  const Tensor q = affine(hits, 1 - t.smoothing, t.smoothing / static_cast<double>(classes)) *
                   view::reshape(counted(t, like.dtype()), {rows, 1});
  return t.weight.defined() ? q * view::to(t.weight, like.dtype()) : q;
}

struct CrossEntropyBackward {
  static constexpr std::string_view name = "cross_entropy_backward";
  ClassTargets targets;
  Tensor log_sum;
  Tensor forward(Ctx& ctx, const Tensor& g, const Tensor& x) const {
    ctx.save({g, x, targets.index, targets.weight});
    Tensor gx = empty(x.shape(), x.dtype(), x.device());
    kernel::cross_entropy_backward(x.device(), view::contiguous(g), view::contiguous(x), log_sum,
                                   targets, gx);
    return gx;
  }
  // gx = g (softmax(x) sum(q) - q)
  Grads backward(const Ctx& ctx, const Tensor& gg) const {
    const Tensor q = dense_targets(unchanged(targets, ctx, 2), ctx.saved(1));
    return composite_vjp(
        [&](const Tensors& in) {
          const Tensor slope = softmax(in[1], 1) * sum(q, {1}, true) - q;
          return Tensors{reshape(in[0], {in[0].numel(), 1}) * slope};
        },
        {ctx.saved(0), ctx.saved(1)}, {gg}, {ctx.needs_grad(0), ctx.needs_grad(1)});
  }
};

// The loss of each row.
struct CrossEntropy {
  static constexpr std::string_view name = "cross_entropy";
  ClassTargets targets;
  Tensor log_sum;
  Tensor forward(Ctx& ctx, const Tensor& x) const {
    ctx.save({x, targets.index, targets.weight});
    Tensor loss = empty({x.size(0)}, x.dtype(), x.device()), sums = log_sum;
    kernel::cross_entropy(x.device(), view::contiguous(x), targets, loss, sums);
    return loss;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    return {apply(CrossEntropyBackward{unchanged(targets, ctx, 1), log_sum}, g, ctx.saved(0))};
  }
};

void check_device(const Tensor& x, const Tensor& t, const char* what, std::string_view op) {
  TESSERA_CHECK(DeviceError, t.device() == x.device(), op, ": input on ", x.device(), ", ", what,
                " on ", t.device());
}

void check_logits(const Tensor& x, const Tensor& weight, std::string_view op) {
  TESSERA_CHECK(DTypeError, is_floating(x.dtype()), op, ": needs a floating dtype, got ",
                x.dtype());
  TESSERA_CHECK(ShapeError, x.rank() >= 1 && x.size(-1) >= 1, op,
                ": expects (..., C) with at least one class, got ", x.shape());
  if (!weight.defined()) return;
  TESSERA_CHECK(ShapeError, weight.shape() == Shape{x.size(-1)}, op, ": weight ", weight.shape(),
                " does not fit the classes of input ", x.shape());
  TESSERA_CHECK(DTypeError, is_floating(weight.dtype()), op, ": weight must be floating, got ",
                weight.dtype());
  check_device(x, weight, "weight", op);
}

Shape row_shape(const Tensor& x) {
  Shape rows = x.shape();
  rows.erase(rows.rank() - 1);
  return rows;
}

// The indices, flat. On a GPU the kernels check their range.
ClassTargets index_targets(const Tensor& x, const Tensor& targets, const Tensor& weight,
                           double smoothing, int64_t ignore, std::string_view op) {
  TESSERA_CHECK(ShapeError, targets.shape() == row_shape(x), op, ": targets ", targets.shape(),
                " do not fit input ", x.shape(), ", expected ", row_shape(x));
  check_device(x, targets, "targets", op);
  const int64_t classes = x.size(-1);
  const ClassTargets t{view::reshape(view::contiguous(targets), {targets.numel()}),
                       weight.defined() ? weight.detach() : weight, smoothing, ignore};
  if (!x.device().is_cpu()) return t;
  const int64_t* index = t.index.data<int64_t>();
  for (int64_t i = 0; i < t.index.numel(); ++i)
    TESSERA_CHECK(ValueError, index[i] == ignore || (index[i] >= 0 && index[i] < classes), op,
                  ": target ", index[i], " at position ", i, " is outside [0, ", classes, ")");
  return t;
}

DType wide_dtype(const Tensor& x) { return x.dtype() == DType::f64 ? DType::f64 : DType::f32; }

// The targets, 0 where they are ignored.
Tensor safe_index(const ClassTargets& t) { return t.index * counted(t, DType::i64); }

// The weight of each row, (rows): that of its target, 0 where it is ignored.
Tensor row_weights(const ClassTargets& t, DType dtype) {
  const Tensor rows = counted(t, dtype);
  if (!t.weight.defined()) return rows;
  return index_select(view::to(t.weight, dtype), 0, safe_index(t)) * rows;
}

// What a mean divides by: a number, or a scalar on the GPU that nobody waits for.
struct Divisor {
  double number = 1;
  Tensor scalar = {};
};

Divisor total_weight(const ClassTargets& t, const Tensor& x) {
  if (!x.device().is_cpu()) return {.scalar = sum(row_weights(t, wide_dtype(x)))};
  Divisor total{.number = 0};
  for (double w : row_weights(t, DType::f64).to_vector<double>()) total.number += w;
  return total;
}

Tensor finish(const Tensor& rows, const Shape& shape, const Divisor& divisor, Reduction reduction) {
  if (reduction == Reduction::none) return reshape(rows, shape);
  if (reduction == Reduction::sum) return sum(rows);
  // The sum of half types may overflow where the mean does not.
  const Tensor total = sum(cast(rows, wide_dtype(rows)));
  const Tensor mean = divisor.scalar.defined() ? total / divisor.scalar : total / divisor.number;
  return cast(mean, rows.dtype());
}

Tensor cross_entropy_probabilities(const Tensor& x, const Tensor& t, const CrossEntropyOptions& o) {
  TESSERA_CHECK(ShapeError, t.shape() == x.shape(), "cross_entropy: probabilities ", t.shape(),
                " must have the logits' shape ", x.shape());
  TESSERA_CHECK(DTypeError, t.dtype() == x.dtype(),
                "cross_entropy: targets must be i64 indices or probabilities of the logits' ",
                x.dtype(), ", got ", t.dtype());
  check_device(x, t, "targets", "cross_entropy");
  const double classes = static_cast<double>(x.size(-1));
  Tensor q = affine(t, 1 - o.label_smoothing, o.label_smoothing / classes);
  if (o.weight.defined()) q = q * cast(o.weight.detach(), x.dtype());
  const Tensor rows = -sum(q * log_softmax(x, -1), {x.rank() - 1});
  return finish(rows, rows.shape(), {static_cast<double>(rows.numel())}, o.reduction);
}

}  // namespace

constinit KernelSlot<void(const Tensor&, const ClassTargets&, Tensor&, Tensor&)>
    kernel::cross_entropy{"cross_entropy"};
constinit KernelSlot<void(const Tensor&, const Tensor&, const Tensor&, const ClassTargets&,
                          Tensor&)>
    kernel::cross_entropy_backward{"cross_entropy_backward"};

Tensor cross_entropy(const Tensor& logits, const Tensor& targets,
                     const CrossEntropyOptions& options) {
  check_logits(logits, options.weight, "cross_entropy");
  TESSERA_CHECK(ValueError, options.label_smoothing >= 0 && options.label_smoothing <= 1,
                "cross_entropy: label_smoothing must lie in [0, 1], got ", options.label_smoothing);
  if (targets.dtype() != DType::i64) return cross_entropy_probabilities(logits, targets, options);
  const ClassTargets t = index_targets(logits, targets, options.weight, options.label_smoothing,
                                       options.ignore_index, "cross_entropy");
  const Tensor x = reshape(logits, {targets.numel(), logits.size(-1)});
  const Tensor rows =
      apply(CrossEntropy{t, empty({targets.numel()}, wide_dtype(x), x.device())}, x);
  const Divisor divisor = options.reduction == Reduction::mean ? total_weight(t, x) : Divisor();
  return finish(rows, targets.shape(), divisor, options.reduction);
}

Tensor nll_loss(const Tensor& log_probabilities, const Tensor& targets,
                const NllLossOptions& options) {
  check_logits(log_probabilities, options.weight, "nll_loss");
  TESSERA_CHECK(DTypeError, targets.dtype() == DType::i64, "nll_loss: targets must be i64, got ",
                targets.dtype());
  const ClassTargets t = index_targets(log_probabilities, targets, options.weight, 0.0,
                                       options.ignore_index, "nll_loss");
  const Tensor x = reshape(log_probabilities, {targets.numel(), log_probabilities.size(-1)});
  // Only the target's entry is read: others may be -inf, which times 0 is not 0.
  const Tensor factors = -row_weights(t, x.dtype());
  const Tensor picked = gather(x, 1, view::reshape(safe_index(t), {targets.numel(), 1}));
  const Tensor rows = where(eq(factors, 0.0), zeros({}, x.dtype(), x.device()),
                            reshape(picked, {targets.numel()}) * factors);
  const Divisor divisor = options.reduction == Reduction::mean ? total_weight(t, x) : Divisor();
  return finish(rows, targets.shape(), divisor, options.reduction);
}

}  // namespace tessera

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

std::vector<double> weights_of(const ClassTargets& t, int64_t classes) {
  if (t.weight.defined()) return t.weight.to_vector<double>();
  return std::vector<double>(static_cast<size_t>(classes), 1.0);
}

// Throws where the indices or weights were overwritten since forward saved them at `first`.
ClassTargets unchanged(const ClassTargets& t, const Ctx& ctx, int first) {
  return {ctx.saved(first), ctx.saved(first + 1), t.smoothing, t.ignore};
}

// The distributions q, (rows, classes), as a constant like `like`.
Tensor dense_targets(const ClassTargets& t, const Tensor& like) {
  const int64_t rows = like.size(0), classes = like.size(1);
  const std::vector<double> weight = weights_of(t, classes);
  const std::vector<int64_t> index = t.index.to_vector<int64_t>();
  std::vector<double> q(static_cast<size_t>(rows * classes));
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t target = index[static_cast<size_t>(r)];
    if (target == t.ignore) continue;
    double* row = q.data() + r * classes;
    for (int64_t c = 0; c < classes; ++c)
      row[c] = t.smoothing / static_cast<double>(classes) * weight[static_cast<size_t>(c)];
    row[target] += (1 - t.smoothing) * weight[static_cast<size_t>(target)];
  }
  return view::to(view::to(from_vector(q, like.shape()), like.dtype()), like.device());
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
}

Shape row_shape(const Tensor& x) {
  Shape rows = x.shape();
  rows.erase(rows.rank() - 1);
  return rows;
}

// Checks the indices; returns them flat with the weight that a mean divides by.
std::pair<ClassTargets, double> index_targets(const Tensor& x, const Tensor& targets,
                                              const Tensor& weight, double smoothing,
                                              int64_t ignore, std::string_view op) {
  TESSERA_CHECK(ShapeError, targets.shape() == row_shape(x), op, ": targets ", targets.shape(),
                " do not fit input ", x.shape(), ", expected ", row_shape(x));
  const int64_t classes = x.size(-1);
  ClassTargets t{view::reshape(view::contiguous(targets), {targets.numel()}),
                 weight.defined() ? weight.detach() : weight, smoothing, ignore};
  const std::vector<double> weights = weights_of(t, classes);
  const std::vector<int64_t> index = t.index.to_vector<int64_t>();
  double total = 0;
  for (size_t i = 0; i < index.size(); ++i) {
    if (index[i] == ignore) continue;
    TESSERA_CHECK(ValueError, index[i] >= 0 && index[i] < classes, op, ": target ", index[i],
                  " at position ", i, " is outside [0, ", classes, ")");
    total += weights[static_cast<size_t>(index[i])];
  }
  return {t, total};
}

Tensor finish(const Tensor& rows, const Shape& shape, double total, Reduction reduction) {
  if (reduction == Reduction::none) return reshape(rows, shape);
  if (reduction == Reduction::sum) return sum(rows);
  // The sum of half types may overflow where the mean does not.
  const DType wide = rows.dtype() == DType::f64 ? DType::f64 : DType::f32;
  return cast(sum(cast(rows, wide)) / total, rows.dtype());
}

Tensor cross_entropy_probabilities(const Tensor& x, const Tensor& t, const CrossEntropyOptions& o) {
  TESSERA_CHECK(ShapeError, t.shape() == x.shape(), "cross_entropy: probabilities ", t.shape(),
                " must have the logits' shape ", x.shape());
  TESSERA_CHECK(DTypeError, t.dtype() == x.dtype(),
                "cross_entropy: targets must be i64 indices or probabilities of the logits' ",
                x.dtype(), ", got ", t.dtype());
  const double classes = static_cast<double>(x.size(-1));
  Tensor q = affine(t, 1 - o.label_smoothing, o.label_smoothing / classes);
  if (o.weight.defined()) q = q * cast(o.weight.detach(), x.dtype());
  const Tensor rows = -sum(q * log_softmax(x, -1), {x.rank() - 1});
  return finish(rows, rows.shape(), static_cast<double>(rows.numel()), o.reduction);
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
  const auto [t, total] = index_targets(logits, targets, options.weight, options.label_smoothing,
                                        options.ignore_index, "cross_entropy");
  const Tensor x = reshape(logits, {targets.numel(), logits.size(-1)});
  const DType sum_dtype = x.dtype() == DType::f64 ? DType::f64 : DType::f32;
  const Tensor rows = apply(CrossEntropy{t, empty({targets.numel()}, sum_dtype, x.device())}, x);
  return finish(rows, targets.shape(), total, options.reduction);
}

Tensor nll_loss(const Tensor& log_probabilities, const Tensor& targets,
                const NllLossOptions& options) {
  check_logits(log_probabilities, options.weight, "nll_loss");
  TESSERA_CHECK(DTypeError, targets.dtype() == DType::i64, "nll_loss: targets must be i64, got ",
                targets.dtype());
  const auto [t, total] = index_targets(log_probabilities, targets, options.weight, 0.0,
                                        options.ignore_index, "nll_loss");
  const Tensor x = reshape(log_probabilities, {targets.numel(), log_probabilities.size(-1)});
  // Only the target's entry is read: others may be -inf, which times 0 is not 0.
  const std::vector<double> weight = weights_of(t, x.size(1));
  std::vector<int64_t> index = t.index.to_vector<int64_t>();
  std::vector<double> factor(index.size());
  for (size_t i = 0; i < index.size(); ++i) {
    if (index[i] == t.ignore)
      index[i] = 0;
    else
      factor[i] = -weight[static_cast<size_t>(index[i])];
  }
  const Tensor factors = view::to(view::to(from_vector(factor), x.dtype()), x.device());
  const Tensor picked = gather(x, 1, from_vector(index, {targets.numel(), 1}, x.device()));
  const Tensor rows = where(eq(factors, 0.0), zeros({}, x.dtype(), x.device()),
                            reshape(picked, {targets.numel()}) * factors);
  return finish(rows, targets.shape(), total, options.reduction);
}

}  // namespace tessera

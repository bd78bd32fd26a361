#include "ops/loss/cross_entropy.h"

#include "autograd/apply.h"
#include "autograd/engine.h"
#include "ops/index/view.h"
#include "ops/norm/softmax.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/reduce/sum.h"
#include "tensor/view.h"

namespace tessera {
namespace {

std::vector<double> weights_of(const ClassTargets& t, int64_t classes) {
  if (t.weight.defined()) return t.weight.to_vector<double>();
  return std::vector<double>(static_cast<size_t>(classes), 1.0);
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
    ctx.save({g, x});
    Tensor gx = empty(x.shape(), x.dtype(), x.device());
    kernel::cross_entropy_backward.get(x.device())(view::contiguous(g), view::contiguous(x),
                                                   log_sum, targets, gx);
    return gx;
  }
  // gx = g (softmax(x) sum(q) - q)
  Grads backward(const Ctx& ctx, const Tensor& gg) const {
    const Tensor q = dense_targets(targets, ctx.saved(1));
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
    ctx.save({x});
    Tensor loss = empty({x.size(0)}, x.dtype(), x.device()), sums = log_sum;
    kernel::cross_entropy.get(x.device())(view::contiguous(x), targets, loss, sums);
    return loss;
  }
  Grads backward(const Ctx& ctx, const Tensor& g) const {
    return {apply(CrossEntropyBackward{targets, log_sum}, g, ctx.saved(0))};
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
  return reduction == Reduction::sum ? sum(rows) : sum(rows) / total;
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
  const Tensor rows = -sum(x * dense_targets(t, x), {1});
  return finish(rows, targets.shape(), total, options.reduction);
}

}  // namespace tessera

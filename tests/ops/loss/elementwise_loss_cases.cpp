#include <cmath>

#include "ops/loss/binary.h"
#include "ops/loss/divergence.h"
#include "ops/loss/regression.h"
#include "tests/ops/op_case.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

constexpr Reduction kReductions[] = {Reduction::none, Reduction::mean, Reduction::sum};

Tensor reduce64(const Tensor& loss, Reduction r) {
  if (r == Reduction::none) return loss;
  double total = 0;
  for (double v : loss.to_vector<double>()) total += v;
  return full({}, r == Reduction::sum ? total : total / static_cast<double>(loss.numel()),
              DType::f64);
}

using Loss = std::function<Tensor(const Tensor&, const Tensor&, Reduction)>;
using Formula = std::function<double(double, double)>;

void add_loss(OpCaseList& cases, const std::string& name, const OpInput& x, const OpInput& t,
              const Loss& loss, const Formula& formula, int order = 2) {
  for (Reduction r : kReductions)
    cases.add(
        {.name = cat(name, "_r", static_cast<int>(r), x.shape),
         .inputs = {x, t},
         .run = [=](const Tensors& in) { return Tensors{loss(in[0], in[1], r)}; },
         .reference =
             [=](const Tensors& in) { return Tensors{reduce64(map64(in[0], in[1], formula), r)}; },
         .order = order});
}

double log_sigmoid64(double x) {
  return x < 0 ? x - std::log1p(std::exp(x)) : -std::log1p(std::exp(-x));
}

double bce64(double x, double t) { return -(t * log_sigmoid64(x) + (1 - t) * log_sigmoid64(-x)); }

}  // namespace

TESSERA_OP_CASES(regression_loss) {
  for (const Shape& s : {Shape{6, 4}, Shape{}, Shape{1, 3}, Shape{0, 2}}) {
    const OpInput x{.shape = s}, t{.shape = s};
    if (numel(s) > 0) {
      add_loss(cases, "mse_loss", x, t, mse_loss,
               [](double a, double b) { return (a - b) * (a - b); });
      add_loss(cases, "l1_loss", x, t, l1_loss, [](double a, double b) { return std::abs(a - b); });
    }
    for (double beta : {1.0 / 9, 1.0}) {
      if (numel(s) == 0) continue;
      add_loss(
          cases, cat("smooth_l1_loss_", beta), x, t,
          [beta](const Tensor& a, const Tensor& b, Reduction r) {
            return smooth_l1_loss(a, b, {.beta = beta, .reduction = r});
          },
          [beta](double a, double b) {
            const double d = std::abs(a - b);
            return d < beta ? d * d / (2 * beta) : d - beta / 2;
          });
      add_loss(
          cases, cat("huber_loss_", beta), x, t,
          [beta](const Tensor& a, const Tensor& b, Reduction r) {
            return huber_loss(a, b, {.delta = beta, .reduction = r});
          },
          [beta](double a, double b) {
            const double d = std::abs(a - b);
            return d < beta ? d * d / 2 : beta * (d - beta / 2);
          });
    }
  }
  add_loss(
      cases, "smooth_l1_loss_0", {.shape = {3, 2}}, {.shape = {3, 2}},
      [](const Tensor& a, const Tensor& b, Reduction r) {
        return smooth_l1_loss(a, b, {.beta = 0, .reduction = r});
      },
      [](double a, double b) { return std::abs(a - b); });
  cases.add({.name = "mse_loss_empty",
             .inputs = {{.shape = {0, 2}}, {.shape = {0, 2}}},
             .run =
                 [](const Tensors& in) {
                   return Tensors{mse_loss(in[0], in[1]), mse_loss(in[0], in[1], Reduction::sum)};
                 },
             .reference =
                 [](const Tensors&) {
                   return Tensors{full({}, std::nan(""), DType::f64), zeros({}, DType::f64)};
                 },
             .order = 0});
  cases.add_error<ShapeError>("mse_loss_shapes",
                              [] {
                                mse_loss(zeros({2, 3}), zeros({3}));
                              },
                              {"mse_loss", "[2, 3]", "[3]"});
  cases.add_error<DTypeError>("l1_loss_dtypes", [] { l1_loss(zeros({2}), zeros({2}, DType::f64)); },
                              {"l1_loss", "f64", "f32"});
  cases.add_error<ValueError>("smooth_l1_loss_beta",
                              [] { smooth_l1_loss(zeros({2}), zeros({2}), {.beta = -1}); },
                              {"smooth_l1_loss", "beta"});
  cases.add_error<ValueError>("huber_loss_delta",
                              [] { huber_loss(zeros({2}), zeros({2}), {.delta = 0}); },
                              {"huber_loss", "delta"});
}

TESSERA_OP_CASES(binary_loss) {
  const OpInput probability{.shape = {4, 5}, .lo = 0.05, .hi = 0.95};
  for (double spread : {3.0, 60.0})
    add_loss(
        cases, cat("bce_with_logits_", spread), {.shape = {4, 6}, .lo = -spread, .hi = spread},
        {.shape = {4, 6}, .lo = 0, .hi = 1},
        [](const Tensor& x, const Tensor& t, Reduction r) {
          return bce_with_logits(x, t, {.reduction = r});
        },
        bce64);
  cases.add(
      {.name = "bce_with_logits_weights",
       .inputs = {{.shape = {3, 4}, .lo = -3, .hi = 3},
                  {.shape = {3, 4}, .lo = 0, .hi = 1},
                  {.shape = {3, 1}, .lo = 0.5, .hi = 2},
                  {.shape = {4}, .lo = 0.5, .hi = 2}},
       .run =
           [](const Tensors& in) {
             return Tensors{bce_with_logits(in[0], in[1], {.weight = in[2], .pos_weight = in[3]})};
           },
       .reference =
           [](const Tensors& in) {
             const std::vector<double> x = in[0].to_vector<double>();
             const std::vector<double> t = in[1].to_vector<double>();
             const std::vector<double> w = in[2].to_vector<double>();
             const std::vector<double> p = in[3].to_vector<double>();
             double total = 0;
             for (size_t i = 0; i < 12; ++i)
               total -= w[i / 4] *
                        (p[i % 4] * t[i] * log_sigmoid64(x[i]) + (1 - t[i]) * log_sigmoid64(-x[i]));
             return Tensors{full({}, total / 12, DType::f64)};
           }});
  add_loss(
      cases, "bce_loss", probability, {.shape = {4, 5}, .lo = 0, .hi = 1},
      [](const Tensor& p, const Tensor& t, Reduction r) {
        return bce_loss(p, t, {.reduction = r});
      },
      [](double p, double t) { return -(t * std::log(p) + (1 - t) * std::log(1 - p)); });
  cases.add(
      {.name = "bce_loss_certain",
       .inputs = {{.shape = {4}, .values = {0, 1, 0, 1}}, {.shape = {4}, .values = {0, 0, 1, 1}}},
       .run =
           [](const Tensors& in) {
             return Tensors{bce_loss(in[0], in[1], {.reduction = Reduction::none})};
           },
       .reference =
           [](const Tensors&) {
             return Tensors{from_vector<double>({0, 100, 100, 0})};
           },
       .order = 0});
  cases.add(
      {.name = "bce_loss_weight",
       .inputs = {probability,
                  {.shape = {4, 5}, .lo = 0, .hi = 1},
                  {.shape = {4, 1}, .lo = 0.5, .hi = 2}},
       .run = [](const Tensors& in) { return Tensors{bce_loss(in[0], in[1], {.weight = in[2]})}; },
       .reference =
           [](const Tensors& in) {
             const std::vector<double> p = in[0].to_vector<double>();
             const std::vector<double> t = in[1].to_vector<double>();
             const std::vector<double> w = in[2].to_vector<double>();
             double total = 0;
             for (size_t i = 0; i < 20; ++i)
               total -= w[i / 5] * (t[i] * std::log(p[i]) + (1 - t[i]) * std::log(1 - p[i]));
             return Tensors{full({}, total / 20, DType::f64)};
           }});
  struct Focal {
    double alpha, gamma;
  };
  for (const auto& [alpha, gamma] :
       {Focal{0.25, 2.0}, Focal{-1, 2.0}, Focal{0.6, 1.5}, Focal{0.5, 0}})
    add_loss(
        cases, cat("sigmoid_focal_loss_", alpha, "_", gamma), {.shape = {4, 5}, .lo = -6, .hi = 6},
        {.shape = {4, 5}, .lo = 0, .hi = 1},
        [alpha = alpha, gamma = gamma](const Tensor& x, const Tensor& t, Reduction r) {
          return sigmoid_focal_loss(x, t, {.alpha = alpha, .gamma = gamma, .reduction = r});
        },
        [alpha = alpha, gamma = gamma](double x, double t) {
          const double p = 1 / (1 + std::exp(-x));
          const double pt = p * t + (1 - p) * (1 - t);
          const double at = alpha < 0 ? 1 : alpha * t + (1 - alpha) * (1 - t);
          return at * std::pow(1 - pt, gamma) * bce64(x, t);
        });
  cases.add_error<ShapeError>("bce_with_logits_shapes",
                              [] {
                                bce_with_logits(zeros({2, 3}), zeros({2}));
                              },
                              {"bce_with_logits", "[2]", "[2, 3]"});
  cases.add_error<ShapeError>(
      "bce_with_logits_pos_weight",
      [] {
        bce_with_logits(zeros({2, 3}), zeros({2, 3}), {.pos_weight = ones({4, 1, 1})});
      },
      {"bce_with_logits", "[4, 1, 1]", "[2, 3]"});
  cases.add_error<ValueError>("bce_loss_range", [] { bce_loss(full({2}, 1.5), zeros({2})); },
                              {"bce_loss", "1.5", "element 0"});
  cases.add_error<ValueError>("sigmoid_focal_loss_gamma",
                              [] { sigmoid_focal_loss(zeros({2}), zeros({2}), {.gamma = -1}); },
                              {"sigmoid_focal_loss", "gamma"});
}

TESSERA_OP_CASES(kl_div) {
  const OpInput x{.shape = {3, 4}, .lo = -4, .hi = 0};
  add_loss(
      cases, "kl_div", x, {.shape = {3, 4}, .lo = 0.1, .hi = 1},
      [](const Tensor& a, const Tensor& b, Reduction r) { return kl_div(a, b, {.reduction = r}); },
      [](double a, double t) { return t * (std::log(t) - a); });
  add_loss(
      cases, "kl_div_log_target", x, {.shape = {3, 4}, .lo = -4, .hi = 0},
      [](const Tensor& a, const Tensor& b, Reduction r) {
        return kl_div(a, b, {.log_target = true, .reduction = r});
      },
      [](double a, double t) { return std::exp(t) * (t - a); });
  cases.add({.name = "kl_div_zero_target",
             .inputs = {{.shape = {2}, .values = {-1, -2}}, {.shape = {2}, .values = {0, 1}}},
             .run =
                 [](const Tensors& in) {
                   return Tensors{kl_div(in[0], in[1], {.reduction = Reduction::none})};
                 },
             .reference =
                 [](const Tensors&) {
                   return Tensors{from_vector<double>({0, 2})};
                 },
             .order = 0});
  cases.add_error<ShapeError>("kl_div_shapes",
                              [] {
                                kl_div(zeros({2, 3}), zeros({2}));
                              },
                              {"kl_div", "[2]", "[2, 3]"});
}

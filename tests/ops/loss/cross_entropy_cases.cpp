#include "ops/loss/cross_entropy.h"

#include <cmath>

#include "tests/ops/op_case.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

std::vector<double> log_probabilities(const double* x, size_t classes) {
  double top = x[0], sum = 0;
  for (size_t c = 0; c < classes; ++c) top = std::max(top, x[c]);
  for (size_t c = 0; c < classes; ++c) sum += std::exp(x[c] - top);
  std::vector<double> p(classes);
  for (size_t c = 0; c < classes; ++c) p[c] = x[c] - top - std::log(sum);
  return p;
}

Tensor reduced(const std::vector<double>& rows, const Shape& shape, double divisor, Reduction r) {
  if (r == Reduction::none) return from_vector(rows, shape);
  double total = 0;
  for (double v : rows) total += v;
  return from_vector<double>({r == Reduction::sum ? total : total / divisor}, {});
}

// Weighted negative log likelihood and its smoothed form, written out as two separate losses.
Tensor cross_entropy64(const Tensor& x, const std::vector<int64_t>& targets, const Shape& rows,
                       const std::vector<double>& w, double smoothing, int64_t ignore, Reduction r,
                       bool already_log = false) {
  const auto classes = static_cast<size_t>(x.size(-1));
  const std::vector<double> v = x.to_vector<double>();
  std::vector<double> loss;
  double divisor = 0;
  for (size_t i = 0; i < targets.size(); ++i) {
    loss.push_back(0);
    if (targets[i] == ignore) continue;
    const double* row = v.data() + i * classes;
    const std::vector<double> p =
        already_log ? std::vector<double>(row, row + classes) : log_probabilities(row, classes);
    const auto t = static_cast<size_t>(targets[i]);
    double spread = 0;
    for (size_t c = 0; c < classes; ++c) spread -= w[c] * p[c] / static_cast<double>(classes);
    loss.back() = (1 - smoothing) * -w[t] * p[t] + smoothing * spread;
    divisor += w[t];
  }
  return reduced(loss, rows, divisor, r);
}

struct Setting {
  std::string name;
  Shape shape;
  std::vector<int64_t> targets;
  bool weighted = false;
  double smoothing = 0;
  Reduction reduction = Reduction::mean;
  int64_t ignore = -100;
  double spread = 4;
};

std::vector<double> class_weights(int64_t classes, bool weighted) {
  std::vector<double> w;
  for (int64_t c = 0; c < classes; ++c) w.push_back(weighted ? 0.5 + 0.3 * double(c % 4) : 1.0);
  return w;
}

void add_indices(OpCaseList& cases, const Setting& s) {
  const int64_t classes = s.shape.back();
  Shape rows = s.shape;
  rows.erase(rows.rank() - 1);
  const std::vector<double> w = class_weights(classes, s.weighted);
  cases.add(
      {.name = "cross_entropy_" + s.name,
       .inputs = {{.shape = s.shape, .lo = -s.spread, .hi = s.spread}},
       .run =
           [=](const Tensors& in) {
             CrossEntropyOptions o{.label_smoothing = s.smoothing,
                                   .ignore_index = s.ignore,
                                   .reduction = s.reduction};
             if (s.weighted) o.weight = beside(in[0], from_vector(w));
             return Tensors{cross_entropy(in[0], beside(in[0], from_vector(s.targets, rows)), o)};
           },
       .reference =
           [=](const Tensors& in) {
             return Tensors{
                 cross_entropy64(in[0], s.targets, rows, w, s.smoothing, s.ignore, s.reduction)};
           }});
  if (s.smoothing > 0) return;
  cases.add({.name = "nll_loss_" + s.name,
             .inputs = {{.shape = s.shape, .lo = -s.spread, .hi = 0}},
             .run =
                 [=](const Tensors& in) {
                   NllLossOptions o{.ignore_index = s.ignore, .reduction = s.reduction};
                   if (s.weighted) o.weight = beside(in[0], from_vector(w));
                   return Tensors{nll_loss(in[0], beside(in[0], from_vector(s.targets, rows)), o)};
                 },
             .reference =
                 [=](const Tensors& in) {
                   return Tensors{
                       cross_entropy64(in[0], s.targets, rows, w, 0, s.ignore, s.reduction, true)};
                 }});
}

void add_probabilities(OpCaseList& cases, const Shape& shape, bool weighted, double smoothing,
                       Reduction reduction) {
  const int64_t classes = shape.back();
  const std::vector<double> w = class_weights(classes, weighted);
  cases.add({.name = cat("cross_entropy_probabilities", shape, "_w", weighted, "_s", smoothing,
                         "_r", static_cast<int>(reduction)),
             .inputs = {{.shape = shape, .lo = -3, .hi = 3}, {.shape = shape, .lo = 0, .hi = 1}},
             .run =
                 [=](const Tensors& in) {
                   CrossEntropyOptions o{.label_smoothing = smoothing, .reduction = reduction};
                   if (weighted) o.weight = beside(in[0], from_vector(w));
                   return Tensors{cross_entropy(in[0], in[1], o)};
                 },
             .reference =
                 [=](const Tensors& in) {
                   const auto k = static_cast<size_t>(classes);
                   const std::vector<double> x = in[0].to_vector<double>();
                   const std::vector<double> t = in[1].to_vector<double>();
                   std::vector<double> loss;
                   for (size_t i = 0; i < x.size(); i += k) {
                     const std::vector<double> p = log_probabilities(x.data() + i, k);
                     loss.push_back(0);
                     for (size_t c = 0; c < k; ++c)
                       loss.back() -=
                           w[c] * p[c] * ((1 - smoothing) * t[i + c] + smoothing / double(classes));
                   }
                   Shape rows = shape;
                   rows.erase(rows.rank() - 1);
                   return Tensors{reduced(loss, rows, static_cast<double>(loss.size()), reduction)};
                 }});
}

}  // namespace

TESSERA_OP_CASES(cross_entropy) {
  const std::vector<int64_t> five{3, 0, 6, 2, 2}, some{3, -100, 6, 2, -100};
  int i = 0;
  for (bool weighted : {false, true})
    for (double smoothing : {0.0, 0.1})
      for (Reduction r : {Reduction::none, Reduction::mean, Reduction::sum})
        for (const auto& targets : {five, some})
          add_indices(cases, {.name = cat(i++),
                              .shape = {5, 7},
                              .targets = targets,
                              .weighted = weighted,
                              .smoothing = smoothing,
                              .reduction = r});
  add_indices(cases, {.name = "ignore_class",
                      .shape = {4, 3},
                      .targets = {0, 1, 2, 1},
                      .smoothing = 0.2,
                      .ignore = 1});
  add_indices(cases, {.name = "pixels",
                      .shape = {2, 2, 3, 4},
                      .targets = {0, 1, 2, 3, 3, 2, 1, 0, -100, 1, 1, 2},
                      .weighted = true,
                      .reduction = Reduction::none});
  add_indices(cases,
              {.name = "many_classes", .shape = {3, 70}, .targets = {0, 69, 33}, .smoothing = 0.1});
  add_indices(cases, {.name = "one_class", .shape = {2, 1}, .targets = {0, 0}});
  add_indices(cases, {.name = "no_batch", .shape = {5}, .targets = {3}});
  add_indices(cases, {.name = "far_logits", .shape = {3, 5}, .targets = {0, 4, 2}, .spread = 90});
  add_indices(cases,
              {.name = "empty", .shape = {0, 5}, .targets = {}, .reduction = Reduction::sum});
  for (bool weighted : {false, true})
    for (double smoothing : {0.0, 0.3})
      add_probabilities(cases, {4, 5}, weighted, smoothing, Reduction::mean);
  add_probabilities(cases, {2, 3, 4}, true, 0.1, Reduction::none);
  add_probabilities(cases, {3, 2}, false, 0.1, Reduction::sum);
  cases.add(
      {.name = "cross_entropy_all_ignored",
       .inputs = {{.shape = {2, 3}}},
       .run =
           [](const Tensors& in) {
             return Tensors{
                 cross_entropy(in[0], beside(in[0], from_vector<int64_t>({-100, -100})))};
           },
       .reference = [](const Tensors&) { return Tensors{full({}, std::nan(""), DType::f64)}; },
       .order = 0});

  auto targets = [](std::vector<int64_t> v) { return from_vector(v); };
  cases.add_error<ValueError>("cross_entropy_target_range",
                              [=] {
                                cross_entropy(zeros({3, 4}), targets({0, 4, 1}));
                              },
                              {"cross_entropy", "target 4", "position 1", "[0, 4)"});
  cases.add_error<ValueError>("cross_entropy_target_negative",
                              [=] {
                                cross_entropy(zeros({2, 4}), targets({0, -1}));
                              },
                              {"target -1", "position 1"});
  cases.add_error<ShapeError>("cross_entropy_shapes",
                              [=] {
                                cross_entropy(zeros({3, 4}), targets({0, 1}));
                              },
                              {"cross_entropy", "[2]", "[3, 4]"});
  cases.add_error<ShapeError>(
      "cross_entropy_weight",
      [=] {
        cross_entropy(zeros({2, 4}), targets({0, 1}), {.weight = ones({3})});
      },
      {"weight [3]", "[2, 4]"});
  cases.add_error<ValueError>(
      "cross_entropy_smoothing",
      [=] {
        cross_entropy(zeros({2, 4}), targets({0, 1}), {.label_smoothing = 1.5});
      },
      {"label_smoothing", "1.5"});
  cases.add_error<DTypeError>("cross_entropy_target_dtype",
                              [] {
                                cross_entropy(zeros({2, 4}), zeros({2, 4}, DType::f64));
                              },
                              {"cross_entropy", "f64"});
  cases.add_error<ValueError>("nll_loss_target_range",
                              [=] {
                                nll_loss(zeros({1, 2}), targets({2}));
                              },
                              {"nll_loss", "target 2", "position 0"});
}

#include "autograd/gradcheck.h"

#include <cmath>

#include "autograd/engine.h"
#include "tensor/generator.h"
#include "tensor/view.h"

namespace tessera {
namespace {

// Weights in [-1, 1) that differ per output and element.
Tensor projection(const Tensor& y, uint64_t salt) {
  Generator generator(0x7E55E7Au, salt);
  std::vector<double> values(static_cast<size_t>(y.numel()));
  for (double& v : values) v = generator.uniform(-1, 1);
  return from_vector(values, y.shape());
}

double weighted_sum(const Tensors& outputs, const Tensors& weights) {
  double sum = 0;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!weights[i].defined()) continue;
    const std::vector<double> y = outputs[i].to_vector<double>();
    const std::vector<double> w = weights[i].to_vector<double>();
    for (size_t k = 0; k < y.size(); ++k) sum += y[k] * w[k];
  }
  return sum;
}

std::string position(const Shape& shape, int64_t flat) {
  Dims at = shape;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    at[axis] = flat % shape[axis];
    flat /= shape[axis];
  }
  return to_string(at);
}

// `all_outputs`: f64 outputs that require no gradient count as well, with an analytic gradient of
// 0.
GradcheckResult check(const TensorFunction& fn, const Tensors& inputs, GradcheckOptions options,
                      bool all_outputs) {
  // Contiguous private copies, so that single elements can be moved.
  Tensors leaves = inputs, checked;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].defined()) continue;
    leaves[i] = view::clone(inputs[i].detach());
    if (!inputs[i].requires_grad()) continue;
    TESSERA_CHECK(DTypeError, inputs[i].dtype() == DType::f64, "gradcheck: input ", i, " is ",
                  inputs[i].dtype(), ", f64 is needed for the differences");
    leaves[i].set_requires_grad(true);
    checked.push_back(leaves[i]);
  }
  TESSERA_CHECK(ValueError, !checked.empty(), "gradcheck: no input requires a gradient");

  Tensors outputs = fn(leaves), weights, roots, root_weights;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const bool attached = outputs[i].defined() && outputs[i].requires_grad();
    const bool counts =
        attached || (all_outputs && outputs[i].defined() && outputs[i].dtype() == DType::f64);
    weights.push_back(counts ? projection(outputs[i], i) : Tensor());
    if (!attached) continue;
    roots.push_back(outputs[i]);
    root_weights.push_back(weights.back());
  }
  Tensors analytic(checked.size());
  if (!roots.empty()) analytic = grad(roots, checked, root_weights, {.allow_unused = true});

  GradcheckResult result;
  NoGradGuard no_grad;
  for (size_t i = 0; i < checked.size(); ++i) {
    const std::vector<double> a =
        analytic[i].defined() ? analytic[i].to_vector<double>()
                              : std::vector<double>(static_cast<size_t>(checked[i].numel()));
    double* x = checked[i].data<double>();
    for (int64_t k = 0; k < checked[i].numel(); ++k) {
      const double keep = x[k];
      const auto at = [&](double value) {
        x[k] = value;
        checked[i].bump_version();
        return weighted_sum(fn(leaves), weights);
      };
      const double up = at(keep + options.step), down = at(keep - options.step);
      x[k] = keep;
      checked[i].bump_version();
      const double numeric = (up - down) / (2 * options.step);
      const double exact = a[static_cast<size_t>(k)];
      double error = std::abs(exact - numeric) / (options.atol + options.rtol * std::abs(numeric));
      if (!std::isfinite(error)) error = INFINITY;
      if (error < result.worst_error) continue;
      result.worst_error = error;
      result.message = cat("input ", i, " at ", position(checked[i].shape(), k), ": analytic ",
                           exact, ", numeric ", numeric, " (error ", error, " of the tolerance)");
    }
  }
  result.ok = result.worst_error <= 1;
  return result;
}

}  // namespace

GradcheckResult gradcheck(const TensorFunction& fn, const Tensors& inputs,
                          GradcheckOptions options) {
  return check(fn, inputs, options, false);
}

GradcheckResult gradgradcheck(const TensorFunction& fn, const Tensors& inputs,
                              GradcheckOptions options) {
  std::vector<size_t> wanted;
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].defined() && inputs[i].requires_grad()) wanted.push_back(i);
  Tensors extended = inputs;
  {
    const Tensors outputs = fn(inputs);
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!outputs[i].defined() || !outputs[i].requires_grad()) continue;
      Tensor g = projection(outputs[i], 1000 + i);
      extended.push_back(g.set_requires_grad(true));
    }
  }
  const auto first_order = [&, count = inputs.size()](const Tensors& all) {
    GradModeGuard enable(true);
    Tensors in(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count)), targets, roots;
    const Tensors out = fn(in);
    for (const Tensor& y : out)
      if (y.defined() && y.requires_grad()) roots.push_back(y);
    for (size_t i : wanted) targets.push_back(in[i]);
    const Tensors g(all.begin() + static_cast<std::ptrdiff_t>(count), all.end());
    return grad(roots, targets, g, {.create_graph = true, .allow_unused = true});
  };
  // A backward that detaches its gradient gives first-order results that require none: those count.
  return check(first_order, extended, options, true);
}

}  // namespace tessera

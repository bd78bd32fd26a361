#include "ops/pointwise/bias_act.h"

#include <cmath>
#include <numbers>

#include "autograd/engine.h"
#include "ops/index/view.h"
#include "tests/ops/array.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

double act64(Act act, double v, double alpha) {
  const double scale = 1.0507009873554804934, shift = 1.6732632423543772848;
  switch (act) {
    case Act::linear:
      return v;
    case Act::relu:
      return std::max(v, 0.0);
    case Act::lrelu:
      return v > 0 ? v : alpha * v;
    case Act::tanh:
      return std::tanh(v);
    case Act::sigmoid:
      return 1 / (1 + std::exp(-v));
    case Act::elu:
      return v > 0 ? v : std::exp(v) - 1;
    case Act::selu:
      return v > 0 ? scale * v : scale * shift * (std::exp(v) - 1);
    case Act::softplus:
      return std::log(1 + std::exp(v));
    default:
      return v / (1 + std::exp(-v));
  }
}

Tensor bias_act64(const Tensor& x, const Tensor& bias, const BiasActOptions& o) {
  const bool root = o.act == Act::relu || o.act == Act::lrelu || o.act == Act::swish;
  const double gain = o.gain.value_or(root ? std::numbers::sqrt2 : 1.0);
  const Array in(x);
  const std::vector<double> b = bias.defined() ? bias.to_vector<double>() : std::vector<double>();
  const int axis = static_cast<int>(o.axis < 0 ? o.axis + x.rank() : o.axis);
  return Array::make(x.shape(),
                     [&](const Dims& i) {
                       const double added = b.empty() ? 0 : b[static_cast<size_t>(i[axis])];
                       const double y =
                           gain * act64(o.act, in.at(i) + added, o.alpha.value_or(0.2));
                       return o.clamp ? std::min(std::max(y, -*o.clamp), *o.clamp) : y;
                     })
      .tensor();
}

struct Row {
  const char* name;
  Act act;
};
const Row kRows[] = {{"linear", Act::linear}, {"relu", Act::relu},         {"lrelu", Act::lrelu},
                     {"tanh", Act::tanh},     {"sigmoid", Act::sigmoid},   {"elu", Act::elu},
                     {"selu", Act::selu},     {"softplus", Act::softplus}, {"swish", Act::swish}};

OpCase bias_case(const std::string& name, const Shape& shape, const BiasActOptions& o, bool bias) {
  OpCase c{
      .name = "bias_act_" + name,
      .inputs = {{.shape = shape, .lo = -3, .hi = 3}},
      .run =
          [=](const Tensors& in) { return Tensors{bias_act(in[0], bias ? in[1] : Tensor(), o)}; },
      .reference =
          [=](const Tensors& in) { return Tensors{bias_act64(in[0], bias ? in[1] : Tensor(), o)}; },
      .bytes = 8 * numel(shape)};
  if (bias)
    c.inputs.push_back(
        {.shape = {shape[static_cast<int>(o.axis < 0 ? o.axis + shape.rank() : o.axis)]}});
  return c;
}

/// First and second derivatives of the operator in x as outputs, so that the gradient suites reach
/// orders 3 and 4.
OpCase derivative_case(const std::string& name, const BiasActOptions& o) {
  const Shape shape{3, 4};
  const auto run = [=](const Tensors& in) {
    const GradModeGuard recording(true);  // numeric differences are taken without
    const Tensor x = in[0].requires_grad() ? in[0] : in[0].detach().set_requires_grad(true);
    const Tensor b = in[1];
    const Tensor weight = ones(shape, x.dtype(), x.device());
    const Tensor first = grad({bias_act(x, b, o)}, {x}, {weight}, {.create_graph = true})[0];
    if (!first.requires_grad()) return Tensors{first};
    const Tensor second =
        grad({first}, {x}, {weight}, {.create_graph = true, .allow_unused = true})[0];
    return second.defined() ? Tensors{first, second} : Tensors{first};
  };
  return {.name = "bias_act_derivatives_" + name,
          .inputs = {{.shape = shape, .lo = -2, .hi = 2}, {.shape = {4}}},
          .run = run,
          .reference = nullptr,
          .f32_tolerance = 4};
}

}  // namespace

TESSERA_OP_CASES(bias_act) {
  for (const Row& row : kRows) {
    const std::string name = row.name;
    cases.add(bias_case(name, {2, 3, 5}, {.act = row.act}, true));
    cases.add(bias_case(name + "_gain_axis1", {2, 3, 2, 4},
                        {.act = row.act, .gain = 1.3, .axis = 1}, true));
    cases.add(bias_case(name + "_no_bias", {7}, {.act = row.act, .gain = -0.7}, false));
    // What linear passes through its clamp is not the derivative: see the test in
    // bias_act_test.cpp.
    OpCase clamped =
        bias_case(name + "_clamp", {3, 2, 16}, {.act = row.act, .gain = 2, .clamp = 1.5}, true);
    if (row.act == Act::linear) clamped.order = 0;
    cases.add(clamped);
  }
  cases.add(bias_case("alpha", {4, 6}, {.act = Act::lrelu, .alpha = 0.01}, true));
  cases.add(bias_case("alpha_0", {4, 6}, {.act = Act::lrelu, .alpha = 0.0}, true));
  cases.add(bias_case("empty", {0, 3}, {.act = Act::lrelu}, true));
  cases.add(bias_case("no_channels", {2, 0}, {.act = Act::swish}, true));
  cases.add(bias_case("one", {1, 1}, {.act = Act::lrelu}, true));
  cases.add(bias_case("scalar", {}, {.act = Act::lrelu}, false));
  for (const Row& row : kRows)
    if (row.act != Act::linear) cases.add(derivative_case(row.name, {.act = row.act, .gain = 1.3}));
  cases.add(derivative_case("swish_clamp", {.act = Act::swish, .gain = 2, .clamp = 2.1}));

  cases.add_error<ShapeError>("bias_act_bias",
                              [] {
                                bias_act(zeros({2, 3}), zeros({2}));
                              },
                              {"[3]", "[2, 3]", "[2]"});
  cases.add_error<ValueError>("bias_act_axis",
                              [] {
                                bias_act(zeros({2, 3}), zeros({2}), {.axis = 2});
                              },
                              {"bias_act", "2"});
  cases.add_error<ValueError>("bias_act_clamp", [] { bias_act(zeros({2}), {}, {.clamp = -1.0}); },
                              {"clamp", "-1"});
  cases.add_error<ValueError>("bias_act_gain", [] { bias_act(zeros({2}), {}, {.gain = 0.0}); },
                              {"gain", "0"});
  cases.add_error<ValueError>("bias_act_alpha", [] { bias_act(zeros({2}), {}, {.alpha = -0.1}); },
                              {"alpha", "-0.1"});
  cases.add_error<DTypeError>("bias_act_dtype", [] { bias_act(zeros({2}, DType::i64)); },
                              {"i64", "[2]"});
  cases.add_error<DTypeError>("bias_act_bias_dtype",
                              [] { bias_act(zeros({2}), zeros({2}, DType::f64)); }, {"f32", "f64"});
}

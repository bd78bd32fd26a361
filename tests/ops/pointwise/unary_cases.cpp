#include <cmath>

#include "ops/pointwise/exponential.h"
#include "ops/pointwise/extrema.h"
#include "ops/pointwise/gelu.h"
#include "ops/pointwise/logistic.h"
#include "ops/pointwise/power.h"
#include "ops/pointwise/relu.h"
#include "ops/pointwise/rounding.h"
#include "ops/pointwise/swish.h"
#include "ops/pointwise/trigonometric.h"
#include "tests/ops/op_case.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

double sigmoid64(double v) { return 1 / (1 + std::exp(-v)); }
double softplus64(double v) { return std::max(v, 0.0) + std::log1p(std::exp(-std::abs(v))); }
double relu6_64(double v) { return std::min(std::max(v, 0.0), 6.0); }
double gelu64(double v) { return 0.5 * v * std::erfc(-v / std::sqrt(2.0)); }
double gelu_tanh64(double v) {
  return 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
}

struct Row {
  const char* name;
  Tensor (*run)(const Tensor&);
  double (*formula)(double);
  double lo, hi;
};

// Ranges keep the random values off the kinks, or wide enough that none falls within 1e-6 of one.
const Row kRows[] = {
    {"exp", exp, std::exp, -4, 4},
    {"expm1", expm1, std::expm1, -3, 3},
    {"log", log, std::log, 0.2, 5},
    {"log1p", log1p, std::log1p, -0.8, 5},
    {"sin", sin, std::sin, -9, 9},
    {"cos", cos, std::cos, -9, 9},
    {"asin", asin, std::asin, -0.9, 0.9},
    {"acos", acos, std::acos, -0.9, 0.9},
    {"atan", atan, std::atan, -5, 5},
    {"tanh", tanh, std::tanh, -4, 4},
    {"sigmoid", sigmoid, sigmoid64, -7, 7},
    {"log_sigmoid", log_sigmoid, [](double v) { return -softplus64(-v); }, -7, 7},
    {"softplus", [](const Tensor& x) { return softplus(x); }, softplus64, -7, 7},
    {"softplus_beta", [](const Tensor& x) { return softplus(x, 2.5, 30); },
     [](double v) { return softplus64(2.5 * v) / 2.5; }, -4, 4},
    {"erf", erf, std::erf, -3, 3},
    {"gelu", [](const Tensor& x) { return gelu(x); }, gelu64, -5, 5},
    {"gelu_tanh", [](const Tensor& x) { return gelu(x, GeluForm::tanh); }, gelu_tanh64, -4, 4},
    {"silu", silu, [](double v) { return v * sigmoid64(v); }, -7, 7},
    {"mish", mish, [](double v) { return v * std::tanh(softplus64(v)); }, -7, 7},
    {"hardswish", hardswish, [](double v) { return v * relu6_64(v + 3) / 6; }, -5, 5},
    {"hardsigmoid", hardsigmoid, [](double v) { return relu6_64(v + 3) / 6; }, -5, 5},
    {"relu", relu, [](double v) { return std::max(v, 0.0); }, -2, 2},
    {"relu6", relu6, relu6_64, -3, 9},
    {"hardtanh", [](const Tensor& x) { return hardtanh(x, -0.7, 0.4); },
     [](double v) { return std::min(std::max(v, -0.7), 0.4); }, -1, 1},
    {"leaky_relu", [](const Tensor& x) { return leaky_relu(x, 0.2); },
     [](double v) { return v > 0 ? v : 0.2 * v; }, -2, 2},
    {"elu", [](const Tensor& x) { return elu(x, 1.3); },
     [](double v) { return v > 0 ? v : 1.3 * std::expm1(v); }, -3, 3},
    {"sqrt", sqrt, std::sqrt, 0.2, 4},
    {"rsqrt", rsqrt, [](double v) { return 1 / std::sqrt(v); }, 0.2, 4},
    {"square", square, [](double v) { return v * v; }, -3, 3},
    {"pow_0", [](const Tensor& x) { return pow(x, 0.0); }, [](double) { return 1.0; }, -3, 3},
    {"pow_1", [](const Tensor& x) { return pow(x, 1.0); }, [](double v) { return v; }, -3, 3},
    {"pow_2", [](const Tensor& x) { return pow(x, 2.0); }, [](double v) { return v * v; }, -3, 3},
    {"pow_3", [](const Tensor& x) { return pow(x, 3.0); }, [](double v) { return v * v * v; }, -3,
     3},
    {"pow_2p5", [](const Tensor& x) { return pow(x, 2.5); },
     [](double v) { return std::pow(v, 2.5); }, 0.1, 3},
    {"pow_m1p5", [](const Tensor& x) { return pow(x, -1.5); },
     [](double v) { return std::pow(v, -1.5); }, 0.3, 3},
    {"pow_half", [](const Tensor& x) { return pow(x, 0.5); }, std::sqrt, 0.3, 3},
    {"pow_mhalf", [](const Tensor& x) { return pow(x, -0.5); },
     [](double v) { return 1 / std::sqrt(v); }, 0.3, 3},
    {"pow_m1", [](const Tensor& x) { return pow(x, -1.0); }, [](double v) { return 1 / v; }, 0.3,
     3},
    {"pow_m2", [](const Tensor& x) { return pow(x, -2.0); }, [](double v) { return 1 / (v * v); },
     0.3, 3},
    {"abs", abs, [](double v) { return std::abs(v); }, -2, 2},
    {"sign", sign, [](double v) { return double((v > 0) - (v < 0)); }, -2, 2},
    {"floor", floor, std::floor, -4, 4},
    {"ceil", ceil, std::ceil, -4, 4},
    {"round", round, [](double v) { return std::nearbyint(v); }, -4, 4},
    {"clamp", [](const Tensor& x) { return clamp(x, -0.5, 0.8); },
     [](double v) { return std::min(std::max(v, -0.5), 0.8); }, -2, 2},
    {"clamp_min", [](const Tensor& x) { return clamp_min(x, -0.5); },
     [](double v) { return std::max(v, -0.5); }, -2, 2},
    {"clamp_max", [](const Tensor& x) { return clamp_max(x, 0.5); },
     [](double v) { return std::min(v, 0.5); }, -2, 2},
};

}  // namespace

TESSERA_OP_CASES(unary) {
  for (const Row& row : kRows)
    for (const Shape& s : {Shape{}, Shape{0}, Shape{1}, Shape{37}, Shape{3, 1, 5}})
      cases.add(
          {.name = cat(row.name, s),
           .inputs = {{.shape = s, .lo = row.lo, .hi = row.hi}},
           .run = [run = row.run](const Tensors& in) { return Tensors{run(in[0])}; },
           .reference = [f = row.formula](const Tensors& in) { return Tensors{map64(in[0], f)}; },
           .bytes = 8 * numel(s)});
  for (const Shape& s : {Shape{4}, Shape{3, 6}, Shape{2, 4, 3}})
    cases.add(
        {.name = cat("glu", s),
         .inputs = {{.shape = s, .lo = -3, .hi = 3}},
         .run = [](const Tensors& in) { return Tensors{glu(in[0], in[0].rank() > 2 ? 1 : -1)}; },
         .reference =
             [](const Tensors& in) {
               const int64_t axis = in[0].rank() > 2 ? 1 : in[0].rank() - 1;
               const int64_t half = in[0].size(axis) / 2;
               return Tensors{map64(view::slice(in[0], axis, 0, half),
                                    view::slice(in[0], axis, half, 2 * half),
                                    [](double a, double b) { return a * sigmoid64(b); })};
             }});
  for (const auto& [x, w] : {std::pair<Shape, Shape>{{3, 4, 5}, {5}},
                             {{7}, {1}},
                             {{2, 3}, {}},
                             {{}, {1}},
                             {{0, 4}, {4}}})
    cases.add({.name = cat("prelu", x, w),
               .inputs = {{.shape = x, .lo = -7, .hi = 7}, {.shape = w}},
               .run = [](const Tensors& in) { return Tensors{prelu(in[0], in[1])}; },
               .reference =
                   [](const Tensors& in) {
                     const Tensor w = in[1].numel() == 1 ? view::reshape(in[1], {}) : in[1];
                     return Tensors{
                         map64(in[0], w, [](double v, double k) { return v > 0 ? v : k * v; })};
                   }});
  cases.add_error<DTypeError>("exp_integer",
                              [] {
                                exp(ones({2, 3}, DType::i64));
                              },
                              {"exp", "i64", "[2, 3]"});
  cases.add_error<DTypeError>("floor_integer", [] { floor(ones({2}, DType::i32)); },
                              {"floor", "i32"});
  cases.add_error<DTypeError>("pow_integer", [] { pow(ones({2}, DType::i32), 2.0); },
                              {"pow", "i32"});
  cases.add_error<ValueError>("clamp_order", [] { clamp(ones({2}), 1, 0); }, {"clamp", "1", "0"});
  cases.add_error<ValueError>("hardtanh_order", [] { hardtanh(ones({2}), 1, 0); }, {"hardtanh"});
  cases.add_error<ValueError>("softplus_beta", [] { softplus(ones({2}), 0); }, {"softplus", "0"});
  cases.add_error<ShapeError>("glu_odd", [] { glu(ones({2, 3})); }, {"glu", "[2, 3]"});
  cases.add_error<ShapeError>("prelu_weight",
                              [] {
                                prelu(ones({2, 3}), ones({2}));
                              },
                              {"prelu", "[2]", "[2, 3]"});
}

#include "ops/pointwise/arithmetic.h"
#include "tests/ops/op_case.h"

using namespace tessera;
using namespace tessera::testing;

TESSERA_OP_CASES(arithmetic) {
  struct Binary {
    const char* name;
    Tensor (*op)(const Tensor&, const Tensor&);
    double (*formula)(double, double);
    double lo;  // of the second operand: divisors stay away from 0
  };
  const Binary table[] = {
      {"add", add, [](double a, double b) { return a + b; }, -1},
      {"sub", sub, [](double a, double b) { return a - b; }, -1},
      {"mul", mul, [](double a, double b) { return a * b; }, -1},
      {"div", div, [](double a, double b) { return a / b; }, 0.5},
  };
  const std::pair<Shape, Shape> shapes[] = {
      {{}, {}},
      {{0}, {1}},
      {{7}, {7}},
      {{3, 5}, {5}},
      {{2, 3, 4}, {3, 1}},
      {{2, 1, 4}, {3, 1}},
      {{1, 4}, {3, 1, 4}},
      {{40}, {2, 1}},
  };
  for (const Binary& b : table)
    for (const auto& [x, y] : shapes)
      cases.add({.name = cat(b.name, x, y),
                 .inputs = {{.shape = x}, {.shape = y, .lo = b.lo, .hi = 2}},
                 .run = [op = b.op](const Tensors& in) { return Tensors{op(in[0], in[1])}; },
                 .reference = [f = b.formula](
                                  const Tensors& in) { return Tensors{map64(in[0], in[1], f)}; }});
  for (const Shape& s : {Shape{}, Shape{0}, Shape{5}, Shape{3, 4}}) {
    cases.add({.name = cat("affine", s),
               .inputs = {{.shape = s}},
               .run = [](const Tensors& in) { return Tensors{affine(in[0], 2.5, -0.75)}; },
               .reference =
                   [](const Tensors& in) {
                     return Tensors{map64(in[0], [](double v) { return 2.5 * v - 0.75; })};
                   }});
    cases.add({.name = cat("reciprocal", s),
               .inputs = {{.shape = s, .lo = 0.5, .hi = 2}},
               .run = [](const Tensors& in) { return Tensors{reciprocal(in[0], 3.0)}; },
               .reference =
                   [](const Tensors& in) {
                     return Tensors{map64(in[0], [](double v) { return 3.0 / v; })};
                   }});
  }
  cases.add_error<ShapeError>("add_shapes",
                              [] {
                                add(zeros({2, 3}), zeros({4}));
                              },
                              {"add", "[2, 3]", "[4]"});
  cases.add_error<DTypeError>("add_dtypes", [] { add(zeros({2}), zeros({2}, DType::f64)); },
                              {"add", "f32", "f64"});
  cases.add_error<ValueError>("div_integer_zero",
                              [] { div(ones({2}, DType::i64), zeros({2}, DType::i64)); },
                              {"division by zero"});
  cases.add_error<Error>("inplace_on_leaf",
                         [] {
                           Tensor w = zeros({2}).set_requires_grad(true);
                           add_(w, ones({2}));
                         },
                         {"add_", "NoGradGuard"});
}

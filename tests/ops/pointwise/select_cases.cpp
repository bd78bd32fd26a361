#include <cmath>

#include "ops/pointwise/comparison.h"
#include "ops/pointwise/extrema.h"
#include "ops/pointwise/power.h"
#include "ops/pointwise/where.h"
#include "tests/ops/op_case.h"

using namespace tessera;
using namespace tessera::testing;

namespace {
const std::pair<Shape, Shape> kShapes[] = {{{}, {}},      {{0}, {1}},          {{37}, {37}},
                                           {{3, 5}, {5}}, {{2, 3, 4}, {3, 1}}, {{2, 1, 4}, {3, 1}},
                                           {{40}, {2, 1}}};

struct Compare {
  const char* name;
  Tensor (*tensors)(const Tensor&, const Tensor&);
  Tensor (*scalar)(const Tensor&, double);
  double (*formula)(double, double);
};
const Compare kCompare[] = {
    {"eq", eq, eq, [](double a, double b) { return double(a == b); }},
    {"ne", ne, ne, [](double a, double b) { return double(a != b); }},
    {"lt", lt, lt, [](double a, double b) { return double(a < b); }},
    {"le", le, le, [](double a, double b) { return double(a <= b); }},
    {"gt", gt, gt, [](double a, double b) { return double(a > b); }},
    {"ge", ge, ge, [](double a, double b) { return double(a >= b); }},
};
struct Logical {
  const char* name;
  Tensor (*run)(const Tensor&, const Tensor&);
  double (*formula)(double, double);
};
const Logical kLogical[] = {
    {"logical_and", logical_and, [](double a, double b) { return double(a != 0 && b != 0); }},
    {"logical_or", logical_or, [](double a, double b) { return double(a != 0 || b != 0); }},
    {"logical_xor", logical_xor, [](double a, double b) { return double((a != 0) != (b != 0)); }},
};
}  // namespace

TESSERA_OP_CASES(comparison) {
  for (const Compare& c : kCompare)
    for (DType dtype : {DType::f32, DType::i64, DType::u8, DType::boolean}) {
      for (const auto& [a, b] : kShapes)
        cases.add({.name = cat(c.name, "_", dtype, a, b),
                   .inputs = {{.shape = a, .lo = 0, .hi = 3, .dtype = dtype},
                              {.shape = b, .lo = 0, .hi = 3, .dtype = dtype}},
                   .run = [f = c.tensors](const Tensors& in) { return Tensors{f(in[0], in[1])}; },
                   .reference = [f = c.formula](
                                    const Tensors& in) { return Tensors{map64(in[0], in[1], f)}; },
                   .order = 0});
      for (double s : {1.0, 0.5})
        cases.add({.name = cat(c.name, "_", dtype, "_scalar", s),
                   .inputs = {{.shape = {3, 7}, .dtype = dtype, .values = {0, 1, 2, 0.5, 1, 0, 3,
                                                                           0, 1, 2, 0.5, 1, 0, 3,
                                                                           0, 1, 2, 0.5, 1, 0, 3}}},
                   .run = [f = c.scalar, s](const Tensors& in) { return Tensors{f(in[0], s)}; },
                   .reference =
                       [f = c.formula, s](const Tensors& in) {
                         return Tensors{map64(in[0], [=](double v) { return f(v, s); })};
                       },
                   .order = 0});
    }
  for (const Logical& c : kLogical)
    for (const auto& [a, b] : kShapes)
      cases.add({.name = cat(c.name, a, b),
                 .inputs = {{.shape = a, .lo = 0, .hi = 2, .dtype = DType::u8},
                            {.shape = b, .lo = 0, .hi = 2, .dtype = DType::boolean}},
                 .run = [f = c.run](const Tensors& in) { return Tensors{f(in[0], in[1])}; },
                 .reference =
                     [f = c.formula](const Tensors& in) { return Tensors{map64(in[0], in[1], f)}; },
                 .order = 0});
  const double inf = INFINITY, nan = NAN;
  const std::vector<double> special{0, -0.0, 1, inf, -inf, nan, -nan, 1e-40, 3e38};
  const auto classify = [&](const char* name, Tensor (*run)(const Tensor&), double (*f)(double)) {
    cases.add({.name = name,
               .inputs = {{.shape = {9}, .values = special}},
               .run = [run](const Tensors& in) { return Tensors{run(in[0])}; },
               .reference = [f](const Tensors& in) { return Tensors{map64(in[0], f)}; },
               .order = 0});
  };
  classify("isnan", isnan, [](double v) { return double(v != v); });
  classify("isinf", isinf, [](double v) { return double(std::isinf(v)); });
  classify("isfinite", isfinite, [](double v) { return double(std::isfinite(v)); });
  classify("logical_not", logical_not, [](double v) { return double(v == 0); });
  cases.add_error<ShapeError>("lt_shapes",
                              [] {
                                lt(zeros({2, 3}), zeros({4}));
                              },
                              {"lt", "[2, 3]", "[4]"});
  cases.add_error<DTypeError>("eq_dtypes", [] { eq(zeros({2}), zeros({2}, DType::i64)); },
                              {"eq", "f32", "i64"});
}

TESSERA_OP_CASES(select) {
  for (const auto& shapes : kShapes) {
    const Shape &a = shapes.first, &b = shapes.second;
    const auto binary = [&](const char* name, Tensor (*run)(const Tensor&, const Tensor&),
                            double (*f)(double, double), double lo, double hi) {
      cases.add({.name = cat(name, a, b),
                 .inputs = {{.shape = a, .lo = lo, .hi = hi}, {.shape = b, .lo = lo, .hi = hi}},
                 .run = [run](const Tensors& in) { return Tensors{run(in[0], in[1])}; },
                 .reference = [f](const Tensors& in) { return Tensors{map64(in[0], in[1], f)}; }});
    };
    binary(
        "minimum", minimum, [](double p, double q) { return std::min(p, q); }, -1, 1);
    binary(
        "maximum", maximum, [](double p, double q) { return std::max(p, q); }, -1, 1);
    binary(
        "pow", pow, [](double p, double q) { return std::pow(p, q); }, 0.3, 2.5);
    cases.add({.name = cat("lerp", a, b),
               .inputs = {{.shape = a}, {.shape = b}},
               .run = [](const Tensors& in) { return Tensors{lerp(in[0], in[1], 0.3)}; },
               .reference =
                   [](const Tensors& in) {
                     return Tensors{
                         map64(in[0], in[1], [](double p, double q) { return p + 0.3 * (q - p); })};
                   }});
    for (bool scalar_condition : {false, true})
      cases.add(
          {.name = cat("where", a, b, scalar_condition ? "_scalar" : ""),
           .inputs =
               {{.shape = scalar_condition ? Shape{} : b, .lo = 0, .hi = 2, .dtype = DType::u8},
                {.shape = a},
                {.shape = b}},
           .run = [](const Tensors& in) { return Tensors{where(ne(in[0], 0), in[1], in[2])}; },
           .reference =
               [](const Tensors& in) {
                 const auto pick = [](double c, double v) { return c != 0 ? v : NAN; };
                 const Tensor taken = map64(in[0], in[1], pick);
                 return Tensors{map64(map64(taken, in[2], [](double v, double) { return v; }),
                                      in[2],
                                      [](double v, double w) { return std::isnan(v) ? w : v; })};
               }});
  }
  cases.add({.name = "lerp_tensor",
             .inputs = {{.shape = {3, 4}}, {.shape = {4}}, {.shape = {3, 1}}},
             .run = [](const Tensors& in) { return Tensors{lerp(in[0], in[1], in[2])}; },
             .reference =
                 [](const Tensors& in) {
                   const Tensor d = map64(in[1], in[0], [](double b, double a) { return b - a; });
                   const Tensor m = map64(d, in[2], [](double p, double w) { return p * w; });
                   return Tensors{map64(m, in[0], [](double p, double a) { return p + a; })};
                 }});
  // The gradient of the exponent at 0^p is 0, that of the base at x^0 too.
  cases.add({.name = "pow_zero_exponent",
             .inputs = {{.shape = {3}, .values = {-1.5, 0.5, 2}},
                        {.shape = {3}, .differentiable = false, .values = {0, 0, 0}}},
             .run = [](const Tensors& in) { return Tensors{pow(in[0], in[1])}; },
             .reference = [](const Tensors&) { return Tensors{ones({3}, DType::f64)}; }});
  cases.add_error<ShapeError>("where_shapes",
                              [] { where(zeros({3}, DType::boolean), zeros({2}), zeros({2})); },
                              {"where", "[3]", "[2]"});
  cases.add_error<DTypeError>("where_condition", [] { where(zeros({3}), zeros({3}), zeros({3})); },
                              {"where", "f32"});
  cases.add_error<DTypeError>("pow_dtypes", [] { pow(zeros({3}), zeros({3}, DType::f64)); },
                              {"pow", "f32", "f64"});
  cases.add_error<ShapeError>("maximum_shapes", [] { maximum(zeros({3}), zeros({2})); },
                              {"maximum", "[3]", "[2]"});
}

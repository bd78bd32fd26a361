#include "ops/norm/softmax.h"

#include <cmath>

#include "ops/norm/l2_normalize.h"
#include "tests/ops/op_case.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

// fn(values along `axis`) replaces each line of x.
Tensor lines64(const Tensor& x, int axis, const std::function<void(std::vector<double>&)>& fn) {
  std::vector<double> v = x.to_vector<double>();
  size_t size = static_cast<size_t>(x.shape()[axis]), inner = 1;
  for (int i = axis + 1; i < x.rank(); ++i) inner *= static_cast<size_t>(x.shape()[i]);
  for (size_t start = 0; start < v.size(); ++start) {
    if (start / inner % size != 0) continue;  // not the first of its line
    std::vector<double> line;
    for (size_t i = 0; i < size; ++i) line.push_back(v[start + i * inner]);
    fn(line);
    for (size_t i = 0; i < size; ++i) v[start + i * inner] = line[i];
  }
  return from_vector(v, x.shape());
}

void log_softmax_line(std::vector<double>& line) {
  double top = line[0], sum = 0;
  for (double v : line) top = std::max(top, v);
  for (double v : line) sum += std::exp(v - top);
  for (double& v : line) v = v - top - std::log(sum);
}

void softmax_line(std::vector<double>& line) {
  log_softmax_line(line);
  for (double& v : line) v = std::exp(v);
}

void normalize_line(std::vector<double>& line) {
  double square = 0;
  for (double v : line) square += v * v;
  for (double& v : line) v /= std::max(std::sqrt(square), 1e-12);
}

}  // namespace

TESSERA_OP_CASES(softmax) {
  struct Row {
    Shape shape;
    int64_t axis;
  };
  for (const auto& [s, axis] :
       {Row{{4, 11, 3}, 1}, Row{{4, 11}, -1}, Row{{5, 3}, 0}, Row{{3, 1}, 1}, Row{{2, 70}, 1},
        Row{{2, 3, 66}, 1}, Row{{6}, 0}, Row{{0, 4}, 1}}) {
    for (double spread : {1.0, 9.0}) {
      const OpInput x{.shape = s, .lo = -spread, .hi = spread};
      const int dim = static_cast<int>(axis < 0 ? axis + s.rank() : axis);
      cases.add(
          {.name = cat("softmax_", s, "_axis", axis, "_", spread),
           .inputs = {x},
           .run = [axis = axis](const Tensors& in) { return Tensors{softmax(in[0], axis)}; },
           .reference =
               [dim](const Tensors& in) { return Tensors{lines64(in[0], dim, softmax_line)}; }});
      cases.add(
          {.name = cat("log_softmax_", s, "_axis", axis, "_", spread),
           .inputs = {x},
           .run = [axis = axis](const Tensors& in) { return Tensors{log_softmax(in[0], axis)}; },
           .reference =
               [dim](const Tensors& in) {
                 return Tensors{lines64(in[0], dim, log_softmax_line)};
               }});
    }
  }
  const double inf = std::numeric_limits<double>::infinity(), nan = std::nan("");
  const OpInput extreme{.shape = {4, 3},
                        .values = {1e4, -1e4, 0, -inf, 2, 2, 88, 89, 90, nan, 0, 1}};
  cases.add(
      {.name = "softmax_extreme",
       .inputs = {extreme},
       .run = [](const Tensors& in) { return Tensors{softmax(in[0])}; },
       .reference = [](const Tensors& in) { return Tensors{lines64(in[0], 1, softmax_line)}; },
       .order = 0});
  cases.add(
      {.name = "log_softmax_extreme",
       .inputs = {extreme},
       .run = [](const Tensors& in) { return Tensors{log_softmax(in[0])}; },
       .reference = [](const Tensors& in) { return Tensors{lines64(in[0], 1, log_softmax_line)}; },
       .order = 0});
  cases.add_error<ValueError>("softmax_axis", [] { softmax(zeros({2, 3}), 2); }, {"softmax", "2"});
  cases.add_error<DTypeError>("log_softmax_dtype", [] { log_softmax(zeros({2}, DType::i64)); },
                              {"log_softmax", "i64"});
}

TESSERA_OP_CASES(l2_normalize) {
  struct Row {
    Shape shape;
    int64_t axis;
  };
  for (const auto& [s, axis] : {Row{{5, 9}, 1}, Row{{5, 9}, 0}, Row{{2, 3, 4}, -2}, Row{{7}, 0},
                                Row{{3, 1}, 1}, Row{{0, 3}, 1}})
    cases.add(
        {.name = cat("l2_normalize_", s, "_axis", axis),
         .inputs = {{.shape = s, .lo = 0.2, .hi = 2}},
         .run = [axis = axis](const Tensors& in) { return Tensors{l2_normalize(in[0], axis)}; },
         .reference =
             [dim = static_cast<int>(axis < 0 ? axis + s.rank() : axis)](const Tensors& in) {
               return Tensors{lines64(in[0], dim, normalize_line)};
             }});
  cases.add({.name = "l2_normalize_zero",
             .inputs = {{.shape = {2, 2}, .values = {0, 0, 3, 4}}},
             .run = [](const Tensors& in) { return Tensors{l2_normalize(in[0])}; },
             .reference =
                 [](const Tensors&) {
                   return Tensors{from_vector<double>({0, 0, 0.6, 0.8}, {2, 2})};
                 },
             .order = 0});
  cases.add_error<ValueError>("l2_normalize_eps",
                              [] {
                                l2_normalize(zeros({2, 3}), 1, 0.0);
                              },
                              {"l2_normalize", "eps"});
}

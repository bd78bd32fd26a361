#include <gtest/gtest.h>

#include <cmath>

#include "autograd/engine.h"
#include "ops/index/view.h"
#include "ops/linalg/distance.h"
#include "ops/linalg/gemm.h"
#include "ops/linalg/matmul.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/reduce/sum.h"
#include "tensor/parallel.h"
#include "tests/ops/op_case.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

// a and b at least 2-D, one scalar product per element.
Tensor matrices_reference(const Tensor& a, const Tensor& b) {
  Shape la = a.shape(), lb = b.shape();
  for (Shape* s : {&la, &lb}) s->erase(s->rank() - 1), s->erase(s->rank() - 1);
  const Shape batch = broadcast_shapes(la, lb, "reference");
  const int64_t m = a.size(-2), k = a.size(-1), n = b.size(-1);
  Shape fa = batch, fb = batch, fy = batch;
  fa.push_back(m), fa.push_back(k);
  fb.push_back(k), fb.push_back(n);
  fy.push_back(m), fy.push_back(n);
  const std::vector<double> va = view::broadcast_to(a.detach(), fa).to_vector<double>();
  const std::vector<double> vb = view::broadcast_to(b.detach(), fb).to_vector<double>();
  std::vector<double> y(static_cast<size_t>(numel(fy)));
  for (int64_t g = 0; g < numel(batch); ++g)
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j)
        for (int64_t l = 0; l < k; ++l)
          y[static_cast<size_t>((g * m + i) * n + j)] +=
              va[static_cast<size_t>((g * m + i) * k + l)] *
              vb[static_cast<size_t>((g * k + l) * n + j)];
  return from_vector(y, fy);
}

Tensor matmul_reference(const Tensor& a, const Tensor& b) {
  const bool row = a.rank() == 1, column = b.rank() == 1;
  const Tensor y =
      matrices_reference(row ? view::unsqueeze(a, 0) : a, column ? view::unsqueeze(b, 1) : b);
  Shape s = y.shape();
  if (column) s.erase(s.rank() - 1);
  if (row) s.erase(s.rank() - (column ? 1 : 2));
  return view::reshape(y, s);
}

Tensor distance_reference(const Tensor& a, const Tensor& b, bool squared) {
  const int64_t m = a.size(0), n = b.size(0), d = a.size(1);
  const std::vector<double> va = a.to_vector<double>(), vb = b.to_vector<double>();
  std::vector<double> y;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double s = 0;
      for (int64_t k = 0; k < d; ++k) {
        const double e = va[static_cast<size_t>(i * d + k)] - vb[static_cast<size_t>(j * d + k)];
        s += e * e;
      }
      y.push_back(squared ? s : std::sqrt(s));
    }
  return from_vector(y, {m, n});
}

}  // namespace

TESSERA_OP_CASES(linalg) {
  struct Pair {
    Shape a, b;
  };
  const Pair pairs[] = {{{3}, {3}},
                        {{4, 6}, {6}},
                        {{6}, {6, 5}},
                        {{13, 17}, {17, 9}},
                        {{1, 5}, {5, 1}},
                        {{5, 1}, {1, 4}},
                        {{2, 0}, {0, 3}},
                        {{0, 2}, {2, 3}},
                        {{0}, {0}},
                        {{2, 7, 5}, {5, 6}},
                        {{7, 5}, {2, 5, 3}},
                        {{3, 2, 4, 5}, {3, 2, 5, 2}},
                        {{3, 1, 4, 5}, {2, 5, 6}},
                        {{2, 1, 3}, {2, 3, 1}},
                        {{2, 4, 5}, {5}},
                        {{5}, {3, 5, 2}},
                        {{0, 4, 5}, {0, 5, 2}}};
  for (const Pair& p : pairs)
    cases.add(
        {.name = cat("matmul", p.a, p.b),
         .inputs = {{.shape = p.a}, {.shape = p.b}},
         .run = [](const Tensors& in) { return Tensors{matmul(in[0], in[1])}; },
         .reference = [](const Tensors& in) { return Tensors{matmul_reference(in[0], in[1])}; }});
  // Past one block of the plain kernel in every direction.
  for (const Pair& p : {Pair{{150, 300}, {300, 410}}, Pair{{3, 40, 131}, {3, 131, 7}}})
    cases.add(
        {.name = cat("matmul_large", p.a, p.b),
         .inputs = {{.shape = p.a}, {.shape = p.b}},
         .run = [](const Tensors& in) { return Tensors{matmul(in[0], in[1])}; },
         .reference = [](const Tensors& in) { return Tensors{matmul_reference(in[0], in[1])}; },
         .order = 0,
         .flops = 2 * numel(p.a) * p.b.back()});
  cases.add({.name = "matmul_transposed",
             .inputs = {{.shape = {5, 3}}, {.shape = {4, 5}}},
             .run =
                 [](const Tensors& in) {
                   return Tensors{matmul(transpose(in[0], 0, 1), transpose(in[1], 0, 1))};
                 },
             .reference =
                 [](const Tensors& in) {
                   return Tensors{matmul_reference(view::transpose(in[0], 0, 1),
                                                   view::transpose(in[1], 0, 1))};
                 }});
  struct Linear {
    Shape x;
    int64_t out;
    bool bias;
  };
  for (const Linear& l : {Linear{{6, 19}, 11, true}, Linear{{6, 19}, 11, false},
                          Linear{{2, 3, 4}, 5, true}, Linear{{7}, 2, true}, Linear{{0, 3}, 2, true},
                          Linear{{3, 0}, 2, true}, Linear{{1, 1}, 1, true}}) {
    std::vector<OpInput> inputs{{.shape = l.x}, {.shape = {l.out, l.x.back()}}};
    if (l.bias) inputs.push_back({.shape = {l.out}});
    cases.add({.name = cat("linear", l.x, l.out, l.bias ? "_bias" : ""),
               .inputs = inputs,
               .run =
                   [](const Tensors& in) {
                     return Tensors{linear(in[0], in[1], in.size() > 2 ? in[2] : Tensor())};
                   },
               .reference =
                   [](const Tensors& in) {
                     const Tensor y = matmul_reference(in[0], view::transpose(in[1], 0, 1));
                     if (in.size() < 3) return Tensors{y};
                     return Tensors{map64(y, in[2], [](double p, double q) { return p + q; })};
                   }});
  }
  cases.add({.name = "outer",
             .inputs = {{.shape = {4}}, {.shape = {3}}},
             .run = [](const Tensors& in) { return Tensors{outer(in[0], in[1])}; },
             .reference =
                 [](const Tensors& in) {
                   return Tensors{map64(view::unsqueeze(in[0], 1), in[1],
                                        [](double p, double q) { return p * q; })};
                 }});
  for (bool squared : {false, true}) {
    cases.add({.name = cat("cdist", squared ? "_squared" : ""),
               .inputs = {{.shape = {5, 7}}, {.shape = {4, 7}}},
               .run = [=](const Tensors& in) { return Tensors{cdist(in[0], in[1], squared)}; },
               .reference =
                   [=](const Tensors& in) {
                     return Tensors{distance_reference(in[0], in[1], squared)};
                   }});
    cases.add(
        {.name = cat("pairwise_distance", squared ? "_squared" : ""),
         .inputs = {{.shape = {5, 1, 7}}, {.shape = {4, 7}}},
         .run =
             [=](const Tensors& in) { return Tensors{pairwise_distance(in[0], in[1], squared)}; },
         .reference =
             [=](const Tensors& in) {
               return Tensors{distance_reference(view::reshape(in[0], {5, 7}), in[1], squared)};
             }});
  }
  cases.add_error<ShapeError>("matmul_inner",
                              [] {
                                matmul(zeros({2, 3}), zeros({4, 5}));
                              },
                              {"matmul", "[2, 3]", "[4, 5]"});
  cases.add_error<ShapeError>("matmul_batch",
                              [] {
                                matmul(zeros({2, 2, 3}), zeros({3, 3, 5}));
                              },
                              {"matmul", "[2]", "[3]"});
  cases.add_error<ShapeError>("matmul_scalar",
                              [] {
                                matmul(zeros({}), zeros({4, 5}));
                              },
                              {"matmul", "[]", "[4, 5]"});
  cases.add_error<DTypeError>("matmul_dtypes",
                              [] {
                                matmul(zeros({2, 3}), zeros({3, 5}, DType::f64));
                              },
                              {"matmul", "f32", "f64"});
  cases.add_error<DTypeError>("matmul_integer",
                              [] {
                                matmul(zeros({2, 3}, DType::i64), zeros({3, 5}, DType::i64));
                              },
                              {"matmul", "i64"});
  cases.add_error<ShapeError>("linear_shapes",
                              [] {
                                linear(zeros({2, 3}), zeros({4, 5}));
                              },
                              {"linear", "[2, 3]", "[4, 5]"});
  cases.add_error<ShapeError>("linear_bias",
                              [] {
                                linear(zeros({2, 3}), zeros({4, 3}), zeros({3}));
                              },
                              {"linear", "[3]", "[4, 3]"});
  cases.add_error<ShapeError>("cdist_shapes",
                              [] {
                                cdist(zeros({2, 3}), zeros({4, 5}));
                              },
                              {"cdist", "[2, 3]", "[4, 5]"});
}

namespace {

// Every layout of the operands gives what dense ones give, on both kernels.
TEST(Gemm, KernelsAgreeOnEveryLayout) {
  const auto tensor = [](const char* name, const Shape& s) {
    return from_vector(hash_uniform(name, numel(s)), s);
  };
  using Slot = void (*)(const Tensor&, const Tensor&, const Tensor&, Tensor&);
  std::vector<Slot> kernels{cpu::gemm_blocked, kernel::gemm.get(kCpu)};
  const Tensor bias = tensor("bias", {9});
  for (int layout = 0; layout < 5; ++layout) {
    Tensor a, b;
    switch (layout) {
      case 0:
        a = tensor("a", {3, 6, 5}), b = tensor("b", {3, 5, 9});
        break;
      case 1:
        a = view::transpose(tensor("a", {3, 5, 6}), 1, 2);
        b = view::transpose(tensor("b", {3, 9, 5}), 1, 2);
        break;
      case 2:  // one matrix for the whole batch
        a = view::broadcast_to(tensor("a", {6, 5}), {3, 6, 5}), b = tensor("b", {3, 5, 9});
        break;
      case 3:  // no unit stride
        a = view::slice(tensor("a", {3, 6, 10}), 2, 0, 10, 2);
        b = view::slice(tensor("b", {3, 5, 18}), 2, 1, 18, 2);
        break;
      default:  // a repeated row and a repeated column
        a = view::broadcast_to(tensor("a", {3, 1, 5}), {3, 6, 5});
        b = view::broadcast_to(tensor("b", {3, 5, 1}), {3, 5, 9});
    }
    const Tensor want = matrices_reference(a, b);
    for (Slot kernel : kernels)
      for (bool with_bias : {false, true}) {
        Tensor y = full({3, 6, 9}, NAN);
        kernel(a, b, with_bias ? bias : Tensor(), y);
        const std::vector<double> got = y.to_vector<double>(), ref = want.to_vector<double>();
        const std::vector<double> add = bias.to_vector<double>();
        for (size_t i = 0; i < got.size(); ++i)
          ASSERT_NEAR(got[i], ref[i] + (with_bias ? add[i % 9] : 0), 1e-5)
              << "layout " << layout << " element " << i;
      }
  }
}

TEST(Gemm, HalfTypes) {
  const Tensor a = from_vector(std::vector<float>{1, 2, 3, 4}, {2, 2});
  const Tensor y = matmul(view::to(a, DType::bf16), view::to(a, DType::bf16));
  EXPECT_EQ(y.dtype(), DType::bf16);
  EXPECT_EQ(y.to_vector<float>(), (std::vector<float>{7, 10, 15, 22}));
}

TEST(Gemm, BlockedKernelDoesNotDependOnTheThreads) {
  const Tensor a = view::to(from_vector(hash_uniform("a", 90 * 400), {90, 400}), DType::f64);
  std::vector<std::vector<double>> results;
  for (int threads : {1, 2, 5}) {
    set_num_threads(threads);
    results.push_back(matmul(a, view::transpose(a, 0, 1)).to_vector<double>());
  }
  set_num_threads(0);
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

TEST(Distance, NoGradientAtZeroDistance) {
  for (DType dtype : {DType::f32, DType::f64}) {
    Tensor x = view::to(from_vector(hash_uniform("x", 3 * 64, -3, 3), {3, 64}), dtype);
    x.set_requires_grad(true);
    for (const Tensor& d :
         {cdist(x, x.detach()), cdist(x, x.detach(), true), pairwise_distance(x, x.detach())}) {
      const bool pairs = d.rank() == 2;
      const Tensor diagonal =
          pairs
              ? sum(d * view::to(from_vector(std::vector<float>{1, 0, 0, 0, 1, 0, 0, 0, 1}, {3, 3}),
                                 dtype))
              : sum(d);
      for (double v : grad({diagonal}, {x})[0].to_vector<double>()) EXPECT_EQ(v, 0);
    }
  }
}

}  // namespace

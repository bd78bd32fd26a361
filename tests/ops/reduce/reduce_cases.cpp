#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "autograd/engine.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/reduce/extreme.h"
#include "ops/reduce/moments.h"
#include "ops/reduce/product.h"
#include "ops/reduce/sum.h"
#include "tensor/parallel.h"
#include "tests/ops/op_case.h"

using namespace tessera;
using namespace tessera::testing;

namespace {

using Values = std::vector<double>;

// fn of the elements that each output combines, in row-major order, found through the index.
Tensor reduce_reference(const Tensor& x, const Dims& axes, bool keepdim,
                        double (*fn)(const Values&)) {
  Shape kept = x.shape(), shape;
  std::vector<bool> reduced(static_cast<size_t>(x.rank()), axes.empty());
  for (int64_t a : axes) reduced[static_cast<size_t>(a < 0 ? a + x.rank() : a)] = true;
  for (int i = 0; i < x.rank(); ++i) {
    if (reduced[static_cast<size_t>(i)]) kept[i] = 1;
    if (keepdim || !reduced[static_cast<size_t>(i)]) shape.push_back(kept[i]);
  }
  std::vector<Values> groups(static_cast<size_t>(numel(kept)));
  const Strides in_strides = contiguous_strides(x.shape()), out_strides = contiguous_strides(kept);
  const Values v = x.to_vector<double>();
  for (size_t flat = 0; flat < v.size(); ++flat) {
    int64_t target = 0;
    for (int i = 0; i < x.rank(); ++i)
      if (!reduced[static_cast<size_t>(i)])
        target += static_cast<int64_t>(flat) / in_strides[i] % x.shape()[i] * out_strides[i];
    groups[static_cast<size_t>(target)].push_back(v[flat]);
  }
  Values out;
  for (const Values& g : groups) out.push_back(fn(g));
  return from_vector(out, shape);
}

double sum64(const Values& v) {
  double s = 0;
  for (double e : v) s += e;
  return s;
}
double mean64(const Values& v) { return sum64(v) / static_cast<double>(v.size()); }
double squares64(const Values& v) {
  const double mean = mean64(v);
  double s = 0;
  for (double e : v) s += (e - mean) * (e - mean);
  return s;
}
double var64(const Values& v) {
  return v.size() < 2 ? NAN : squares64(v) / static_cast<double>(v.size() - 1);
}
double var_biased64(const Values& v) {
  return v.empty() ? NAN : squares64(v) / static_cast<double>(v.size());
}
double norm1_64(const Values& v) {
  double s = 0;
  for (double e : v) s += std::abs(e);
  return s;
}
double norm2_64(const Values& v) {
  double s = 0;
  for (double e : v) s += e * e;
  return std::sqrt(s);
}
double norm_inf64(const Values& v) {
  double s = 0;
  for (double e : v) s = std::max(s, std::abs(e));
  return s;
}
double max64(const Values& v) { return *std::max_element(v.begin(), v.end()); }
double min64(const Values& v) { return *std::min_element(v.begin(), v.end()); }
double argmax64(const Values& v) {
  return static_cast<double>(std::max_element(v.begin(), v.end()) - v.begin());
}
double argmin64(const Values& v) {
  return static_cast<double>(std::min_element(v.begin(), v.end()) - v.begin());
}
double prod64(const Values& v) {
  double p = 1;
  for (double e : v) p *= e;
  return p;
}
double logsumexp64(const Values& v) {
  if (v.empty()) return -INFINITY;
  double s = 0;
  const double largest = max64(v);
  for (double e : v) s += std::exp(e - largest);
  return largest + std::log(s);
}
double count64(const Values& v) {
  return static_cast<double>(v.size()) - static_cast<double>(std::count(v.begin(), v.end(), 0.0));
}
double any64(const Values& v) { return count64(v) > 0; }
double all64(const Values& v) { return count64(v) == static_cast<double>(v.size()); }

struct Reduction {
  const char* name;
  Tensor (*run)(const Tensor&, const Dims&, bool);
  double (*formula)(const Values&);
  int order = 2;
  bool empty = true;  // defined over no elements
  double lo = -1, hi = 1;
  DType dtype = DType::f32;
};

const Reduction kReductions[] = {
    {"mean", mean, mean64},
    {"var", [](const Tensor& x, const Dims& a, bool k) { return var(x, a, true, k); }, var64},
    {"var_biased", [](const Tensor& x, const Dims& a, bool k) { return var(x, a, false, k); },
     var_biased64},
    {"stddev", [](const Tensor& x, const Dims& a, bool k) { return stddev(x, a, true, k); },
     [](const Values& v) { return std::sqrt(var64(v)); }},
    {"norm1", [](const Tensor& x, const Dims& a, bool k) { return norm(x, 1, a, k); }, norm1_64},
    {"norm2", [](const Tensor& x, const Dims& a, bool k) { return norm(x, 2, a, k); }, norm2_64},
    {"norm_inf", [](const Tensor& x, const Dims& a, bool k) { return norm(x, INFINITY, a, k); },
     norm_inf64, 2, false},
    {"amax", amax, max64, 2, false},
    {"amin", amin, min64, 2, false},
    {"amax_i64", amax, max64, 0, false, -50, 50, DType::i64},
    {"prod", prod, prod64, 2, true, 0.4, 1.7},
    {"logsumexp", logsumexp, logsumexp64, 2, true, -9, 9},
    {"count_nonzero", count_nonzero, count64, 0, true, 0, 3, DType::u8},
    {"any", any, any64, 0, true, 0, 1.2, DType::i32},
    {"all", all, all64, 0, true, 0, 5, DType::u8},
};

struct Row {
  Shape shape;
  Dims axes;
};

}  // namespace

TESSERA_OP_CASES(reduce) {
  const Row rows[] = {{{}, {}},
                      {{5}, {0}},
                      {{0}, {}},
                      {{3, 0}, {1}},
                      {{0, 3}, {1}},
                      {{3, 4, 5}, {}},
                      {{3, 4, 5}, {0}},
                      {{3, 4, 5}, {1}},
                      {{2, 40}, {-1}},
                      {{3, 4, 5}, {0, 2}},
                      {{2, 3, 2, 5}, {1, 2}},
                      {{1, 3, 1}, {0, 2}}};
  const Row long_rows[] = {{{70000}, {}},     {{2, 270000}, {1}}, {{3000, 37}, {0}},
                           {{37, 3000}, {1}}, {{3, 20000}, {0}},  {{9, 50, 67}, {1}}};
  for (const Reduction& r : kReductions) {
    const auto add = [&](const Row& row, bool keepdim, bool large) {
      const bool lone = row.shape == Shape{1, 3, 1} && std::string(r.name) != "var_biased";
      const bool over_nothing = numel(row.shape) == 0 && row.shape != Shape{0, 3};
      if (over_nothing && !r.empty) return;
      cases.add({.name = cat(r.name, row.shape, row.axes, keepdim ? "_keep" : ""),
                 .inputs = {{.shape = row.shape, .lo = r.lo, .hi = r.hi, .dtype = r.dtype}},
                 .run = [=](const Tensors& in) { return Tensors{r.run(in[0], row.axes, keepdim)}; },
                 .reference =
                     [=](const Tensors& in) {
                       return Tensors{reduce_reference(in[0], row.axes, keepdim, r.formula)};
                     },
                 // A variance over one element is NaN, whose derivative has no numeric value.
                 .order = large || lone || numel(row.shape) < 2 ? 0 : r.order,
                 .bytes = 4 * numel(row.shape)});
    };
    for (const Row& row : rows) add(row, false, false), add(row, true, false);
    if (r.formula != prod64)  // hundreds of factors leave the range of f32
      for (const Row& row : long_rows) add(row, false, true);
  }
  for (const Row& row : {Row{{5}, {0}}, Row{{3, 4, 5}, {1}}, Row{{3, 40}, {-1}}, Row{{4, 300}, {0}},
                         Row{{1, 3}, {0}}})
    for (bool largest : {false, true})
      cases.add(
          {.name = cat(largest ? "max" : "min", "_with_indices", row.shape, row.axes),
           .inputs = {{.shape = row.shape}},
           .run =
               [=](const Tensors& in) {
                 const auto out =
                     (largest ? max_with_indices : min_with_indices)(in[0], row.axes[0], false);
                 const Tensor arg =
                     (largest ? static_cast<Tensor (*)(const Tensor&, int64_t, bool)>(argmax)
                              : static_cast<Tensor (*)(const Tensor&, int64_t, bool)>(argmin))(
                         in[0], row.axes[0], false);
                 return Tensors{out.values, out.indices, arg};
               },
           .reference =
               [=](const Tensors& in) {
                 const Tensor at =
                     reduce_reference(in[0], row.axes, false, largest ? argmax64 : argmin64);
                 return Tensors{reduce_reference(in[0], row.axes, false, largest ? max64 : min64),
                                at, at};
               }});
  // One zero, two zeros, none: the first order of the product.
  cases.add(
      {.name = "prod_zeros",
       .inputs = {{.shape = {3, 3}, .values = {0.5, 0, 2, 0, 0, 3, 1.5, -2, 0.7}}},
       .run = [](const Tensors& in) { return Tensors{prod(in[0], {1})}; },
       .reference =
           [](const Tensors& in) { return Tensors{reduce_reference(in[0], {1}, false, prod64)}; },
       .order = 1});
  cases.add_error<DTypeError>("mean_integer",
                              [] {
                                mean(ones({2, 3}, DType::i64));
                              },
                              {"mean", "i64", "[2, 3]"});
  cases.add_error<ShapeError>("amax_empty", [] { amax(zeros({3, 0}), {1}); }, {"amax", "[3, 0]"});
  cases.add_error<ShapeError>("argmax_empty",
                              [] {
                                argmax(zeros({0, 3}), 0);
                              },
                              {"argmax", "[0, 3]"});
  cases.add_error<ValueError>("norm_p", [] { norm(zeros({3}), 3); }, {"norm", "3"});
  cases.add_error<ValueError>("var_axis", [] { var(zeros({3}), {1}); }, {"var", "1"});
}

namespace {

Values gradient(const std::function<Tensor(const Tensor&)>& fn, Tensor x) {
  x.set_requires_grad(true);
  return grad({sum(fn(x))}, {x})[0].to_vector<double>();
}

TEST(Reduce, NanWinsAndFirstWins) {
  const Tensor x = from_vector(Values{1, 3, NAN, 5, NAN, 3});
  EXPECT_TRUE(std::isnan(amax(x).item()));
  EXPECT_TRUE(std::isnan(amin(x).item()));
  EXPECT_EQ(argmax(x).item<int64_t>(), 2);
  EXPECT_EQ(argmin(x).item<int64_t>(), 2);
  const Tensor columns = from_vector(Values{1, NAN, 3, 2, 3, 5, 3, NAN, 3}, {3, 3});
  EXPECT_EQ(argmax(columns, 0).to_vector<int64_t>(), (std::vector<int64_t>{2, 0, 1}));
  EXPECT_EQ(argmax(from_vector(Values{2, 7, 7})).item<int64_t>(), 1);
}

TEST(Reduce, TiesShareTheGradient) {
  const Tensor x = from_vector(Values{2, 2, 1, 2, 0, 4}, {2, 3});
  EXPECT_EQ(gradient([](const Tensor& t) { return amax(t, {1}); }, x),
            (Values{0.5, 0.5, 0, 0, 0, 1}));
  EXPECT_EQ(gradient([](const Tensor& t) { return max_with_indices(t, 1).values; }, x.detach()),
            (Values{1, 0, 0, 0, 0, 1}));
}

TEST(Reduce, GradientsAtTheOrigin) {
  const Tensor zero = zeros({2, 3}, DType::f64);
  for (double p : {1.0, 2.0})
    EXPECT_EQ(gradient([p](const Tensor& t) { return norm(t, p, {1}); }, zero.detach()), Values(6));
  EXPECT_EQ(gradient([](const Tensor& t) { return stddev(t, {1}); }, zero.detach()), Values(6));
  const Tensor low = full({2, 3}, -INFINITY, DType::f64);
  EXPECT_EQ(logsumexp(low, {1}).to_vector<double>(), (Values{-INFINITY, -INFINITY}));
  EXPECT_EQ(gradient([](const Tensor& t) { return logsumexp(t, {1}); }, low), Values(6));
  EXPECT_EQ(logsumexp(from_vector(Values{1, INFINITY})).item(), INFINITY);
}

TEST(Reduce, VarianceFarFromZero) {
  // 1e6 + {0, 1, 2, 3}: the one-pass formula would lose every digit in f32.
  const Tensor x = from_vector(std::vector<float>{1000000, 1000001, 1000002, 1000003});
  EXPECT_FLOAT_EQ(var(x).item<float>(), 5.0f / 3);
  EXPECT_FLOAT_EQ(norm(from_vector(std::vector<float>{3e30f, 4e30f})).item<float>(), 5e30f);
}

TEST(Reduce, IndependentOfTheThreads) {
  for (const Row& row : {Row{{300000}, {}}, Row{{5000, 37}, {0}}, Row{{9, 100, 130}, {1}}}) {
    const Tensor x = from_vector(hash_uniform("threads", numel(row.shape)), row.shape);
    std::vector<Values> results;
    for (int threads : {1, 2, 5}) {
      set_num_threads(threads);
      Values all = sum(x, row.axes).to_vector<double>();
      for (double v : var(x, row.axes).to_vector<double>()) all.push_back(v);
      for (double v : logsumexp(x, row.axes).to_vector<double>()) all.push_back(v);
      results.push_back(all);
    }
    set_num_threads(0);
    EXPECT_EQ(results[0], results[1]);
    EXPECT_EQ(results[0], results[2]);
  }
}

}  // namespace

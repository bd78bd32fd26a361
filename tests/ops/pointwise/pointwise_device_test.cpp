// What the cases of the pointwise operators do not reach on a GPU: half types, vectors and single
// elements, tails, several blocks, special values and angles beyond the float polynomials.

#include <limits>

#include "autograd/engine.h"
#include "ops/pointwise/comparison.h"
#include "ops/pointwise/exponential.h"
#include "ops/pointwise/extrema.h"
#include "ops/pointwise/gelu.h"
#include "ops/pointwise/logistic.h"
#include "ops/pointwise/power.h"
#include "ops/pointwise/rounding.h"
#include "ops/pointwise/swish.h"
#include "ops/pointwise/trigonometric.h"
#include "ops/pointwise/where.h"
#include "tests/ops/device_test.h"

namespace tessera::testing {
namespace {

class PointwiseDevice : public DeviceTest {};

constexpr DType kFloating[] = {DType::f32, DType::f64, DType::f16, DType::bf16};
constexpr DType kAll[] = {DType::f32, DType::f64, DType::f16, DType::bf16,
                          DType::i64, DType::i32, DType::u8,  DType::boolean};

struct Function {
  const char* name;
  Tensor (*run)(const Tensor&);
  double lo, hi;
};
const Function kFunctions[] = {
    {"exp", exp, -4, 4},
    {"expm1", expm1, -3, 3},
    {"log", log, 0.2, 5},
    {"log1p", log1p, -0.8, 5},
    {"sin", sin, -9, 9},
    {"cos", cos, -9, 9},
    {"asin", asin, -0.9, 0.9},
    {"acos", acos, -0.9, 0.9},
    {"atan", atan, -5, 5},
    {"tanh", tanh, -4, 4},
    {"sigmoid", sigmoid, -7, 7},
    {"log_sigmoid", log_sigmoid, -7, 7},
    {"softplus", [](const Tensor& x) { return softplus(x); }, -7, 7},
    {"erf", erf, -3, 3},
    {"gelu", [](const Tensor& x) { return gelu(x); }, -5, 5},
    {"gelu_tanh", [](const Tensor& x) { return gelu(x, GeluForm::tanh); }, -4, 4},
    {"silu", silu, -7, 7},
    {"mish", mish, -7, 7},
    {"hardswish", hardswish, -5, 5},
    {"hardsigmoid", hardsigmoid, -5, 5},
    {"sqrt", sqrt, 0.2, 4},
    {"rsqrt", rsqrt, 0.2, 4},
    {"square", square, -3, 3},
    {"abs", abs, -2, 2},
    {"sign", sign, -2, 2},
    {"floor", floor, -4, 4},
    {"ceil", ceil, -4, 4},
    {"round", round, -4, 4},
    {"clamp", [](const Tensor& x) { return clamp(x, -0.5, 0.8); }, -2, 2},
    {"pow_0", [](const Tensor& x) { return pow(x, 0.0); }, -3, 3},
    {"pow_3", [](const Tensor& x) { return pow(x, 3.0); }, -3, 3},
    {"pow_2.7", [](const Tensor& x) { return pow(x, 2.7); }, 0.3, 3},
    {"pow_-0.5", [](const Tensor& x) { return pow(x, -0.5); }, 0.3, 3},
};

// Value and gradient. Half types round the same float result, at worst to the neighbour.
void expect_function(const Function& f, const Tensor& here, const Tensor& there,
                     const std::string& what) {
  const DType dtype = here.dtype();
  const bool half = size_of(dtype) == 2;
  const double relative = half ? epsilon(dtype) : (dtype == DType::f32 ? 4e-6 : 1e-13);
  const double absolute = half ? 0x1p-24 : (dtype == DType::f32 ? 1e-6 : 1e-14);
  const auto both = [&](const Tensor& x) {
    Tensor leaf = x.detach();
    leaf.set_requires_grad(true);
    const Tensor y = f.run(leaf);
    return Tensors{y.detach(), grad({y}, {leaf}, {leaf.detach()}, {})[0]};
  };
  const Tensors want = both(here), got = both(there);
  expect_close(got[0], want[0], relative, absolute, what);
  expect_close(got[1], want[1], relative, absolute, what + ", gradient");
}

TEST_F(PointwiseDevice, EveryFunctionInEveryType) {
  for (const Function& f : kFunctions)
    for (DType dtype : kFloating) {
      const Tensor x = hashed(f.name, {2051}, dtype, f.lo, f.hi);
      const std::string what = cat(f.name, ' ', dtype);
      expect_function(f, x, on_gpu(x), what);
      expect_function(f, x, misaligned(x), what + ", misaligned");
      const Tensor turned =
          view::permute(view::reshape(view::slice(x, 0, 0, 2050), {41, 50}), {1, 0});
      expect_function(f, turned, view::permute(on_gpu(view::permute(turned, {1, 0})), {1, 0}),
                      what + ", strided");
    }
}

TEST_F(PointwiseDevice, SpecialValues) {
  const double inf = INFINITY, nan = NAN;
  const std::vector<double> special{0, -0.0, inf, -inf, nan, 1, -1, 1e30, -1e30, 2.5, -1.5};
  for (const Function& f : kFunctions)
    for (DType dtype : {DType::f32, DType::f64}) {
      const Tensor x = view::to(from_vector(special), dtype);
      expect_close(f.run(on_gpu(x)), f.run(x), 4e-6, 1e-6, cat(f.name, ' ', dtype));
    }
}

// The CPU decides for 1024 elements at a time whether they need float64, the GPU for each.
TEST_F(PointwiseDevice, AnglesBeyondTheFloatPolynomials) {
  const Tensor near = hashed("near", {1000}, DType::f32, -9, 9);
  const Tensor far = hashed("far", {1000}, DType::f32, -1e12, 1e12);
  for (auto* f :
       {static_cast<Tensor (*)(const Tensor&)>(sin), static_cast<Tensor (*)(const Tensor&)>(cos)})
    for (const Tensor& x : {near, far}) {
      expect_close(f(on_gpu(x)), f(x), 0, 4e-7, "angle");
      Tensor leaf = on_gpu(x), leaf_here = x;
      leaf.set_requires_grad(true), leaf_here.set_requires_grad(true);
      expect_close(grad({f(leaf)}, {leaf}, {ones_like(leaf)}, {})[0],
                   grad({f(leaf_here)}, {leaf_here}, {ones_like(leaf_here)}, {})[0], 0, 4e-7,
                   "gradient");
    }
}

TEST_F(PointwiseDevice, ComparisonsInEveryType) {
  using Pair = Tensor (*)(const Tensor&, const Tensor&);
  using Scalar = Tensor (*)(const Tensor&, double);
  const std::pair<Pair, Scalar> all[] = {{eq, eq}, {ne, ne}, {lt, lt},
                                         {le, le}, {gt, gt}, {ge, ge}};
  for (DType dtype : kAll) {
    const Tensor a = hashed("a", {3, 1029}, dtype, 0, 3), b = hashed("b", {1029}, dtype, 0, 3);
    for (const auto& [pair, scalar] : all) {
      expect_same_bits(pair(on_gpu(a), on_gpu(b)), pair(a, b), cat("compare ", dtype));
      expect_same_bits(pair(misaligned(b), on_gpu(b)), pair(b, b), cat("misaligned ", dtype));
      for (double s : {1.0, 0.5, 1e19, -2.0, double(NAN)})
        expect_same_bits(scalar(on_gpu(a), s), scalar(a, s), cat("compare ", dtype, " and ", s));
    }
  }
}

TEST_F(PointwiseDevice, IntegersAreComparedExactly) {
  const int64_t large = (int64_t{1} << 53) + 1;
  const Tensor x = from_vector<int64_t>({large - 1, large, large + 1});
  expect_same_bits(eq(on_gpu(x), 9007199254740992.0), eq(x, 9007199254740992.0), "2^53");
}

TEST_F(PointwiseDevice, SelectionInEveryType) {
  for (DType dtype : kAll) {
    const Tensor a = hashed("a", {7, 301}, dtype, 0, 9), b = hashed("b", {301}, dtype, 0, 9);
    const Tensor c = lt(hashed("c", {7, 301}, DType::f32), 0.0);
    expect_same_bits(where(on_gpu(c), on_gpu(a), on_gpu(b)), where(c, a, b), cat("where ", dtype));
    if (dtype == DType::boolean) continue;
    expect_same_bits(minimum(on_gpu(a), on_gpu(b)), minimum(a, b), cat("minimum ", dtype));
    expect_same_bits(maximum(on_gpu(a), on_gpu(b)), maximum(a, b), cat("maximum ", dtype));
  }
  const Tensor p = from_vector<float>({NAN, 1, 2, -0.0f}), q = from_vector<float>({1, NAN, 2, 0});
  expect_close(maximum(on_gpu(p), on_gpu(q)), maximum(p, q), 0, 0, "NaN");
  expect_close(minimum(on_gpu(p), on_gpu(q)), minimum(p, q), 0, 0, "NaN");
}

TEST_F(PointwiseDevice, ClassesOfNumbers) {
  const std::vector<double> special{0, -0.0, 1, INFINITY, -INFINITY, NAN, -NAN, 1e-40, 6e4};
  for (DType dtype : kFloating) {
    const Tensor x = view::to(from_vector(special), dtype);
    for (auto* f : {isnan, isinf, isfinite, logical_not})
      expect_same_bits(f(on_gpu(x)), f(x), cat(dtype));
  }
}

TEST_F(PointwiseDevice, PowersInEveryType) {
  for (DType dtype : kFloating) {
    const Tensor x = hashed("x", {1029}, dtype, 0.3, 2), p = hashed("p", {1029}, dtype, -2, 2);
    expect_close(pow(on_gpu(x), on_gpu(p)), pow(x, p),
                 dtype == DType::f64 ? 1e-13 : 2 * epsilon(dtype) + 1e-6, 0, cat("pow ", dtype));
  }
  const Tensor x = from_vector<double>({0, -0.0, -2, -2, INFINITY, NAN, 1, 0});
  const Tensor p = from_vector<double>({-1, -3, 3, 0.5, -1, 0, NAN, 0});
  expect_close(pow(on_gpu(x), on_gpu(p)), pow(x, p), 1e-13, 0, "special powers");
}

}  // namespace
}  // namespace tessera::testing

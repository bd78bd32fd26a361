// Pointwise kernels at a size beyond the caches: GB/s of useful traffic next to a copy of the same
// size. Build with the tessera library and Google Benchmark.

#include <benchmark/benchmark.h>

#include "autograd/engine.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/comparison.h"
#include "ops/pointwise/exponential.h"
#include "ops/pointwise/extrema.h"
#include "ops/pointwise/gelu.h"
#include "ops/pointwise/logistic.h"
#include "ops/pointwise/power.h"
#include "ops/pointwise/relu.h"
#include "ops/pointwise/rounding.h"
#include "ops/pointwise/swish.h"
#include "ops/pointwise/trigonometric.h"
#include "ops/pointwise/where.h"
#include "ops/reduce/sum.h"
#include "tensor/view.h"

using namespace tessera;

namespace {

const Shape kShape{16, 56, 56, 256};  // 51 MB in f32

Tensor input() {
  Tensor x = empty(kShape);
  float* p = x.data<float>();
  for (int64_t i = 0; i < x.numel(); ++i) p[i] = static_cast<float>(i % 1009) * 0.01f - 4.0f;
  return x;
}

void report(benchmark::State& state, int64_t bytes_per_element) {
  state.counters["GB/s"] =
      benchmark::Counter(static_cast<double>(numel(kShape) * bytes_per_element) * 1e-9,
                         benchmark::Counter::kIsIterationInvariantRate);
}

void unary(benchmark::State& state, Tensor (*op)(const Tensor&)) {
  const Tensor x = input();
  for (auto _ : state) benchmark::DoNotOptimize(op(x).raw_data());
  report(state, 8);
}

// Backward alone: the gradient reads g and the saved tensor and writes one.
void unary_grad(benchmark::State& state, Tensor (*op)(const Tensor&)) {
  const Tensor x = input().set_requires_grad(true), g = input();
  const Tensor y = op(x);
  for (auto _ : state)
    benchmark::DoNotOptimize(grad({y}, {x}, {g}, {.retain_graph = true})[0].raw_data());
  report(state, 12);
}

void binary(benchmark::State& state, Tensor (*op)(const Tensor&, const Tensor&), bool row) {
  const Tensor a = input(), b = row ? view::slice(view::reshape(a, {-1}), 0, 0, 256) : input();
  for (auto _ : state) benchmark::DoNotOptimize(op(a, b).raw_data());
  report(state, row ? 8 : 12);
}

void add_all() {
  const auto forward = [](const char* name, Tensor (*op)(const Tensor&)) {
    benchmark::RegisterBenchmark(name, [op](benchmark::State& s) { unary(s, op); })->UseRealTime();
  };
  const auto both = [&](const std::string& name, Tensor (*op)(const Tensor&)) {
    forward(name.c_str(), op);
    benchmark::RegisterBenchmark((name + "_grad").c_str(), [op](benchmark::State& s) {
      unary_grad(s, op);
    })->UseRealTime();
  };
  forward("copy", view::clone);
  both("relu", relu);
  both("relu6", relu6);
  both("exp", exp);
  both("log", log);
  both("tanh", tanh);
  both("sigmoid", sigmoid);
  both("silu", silu);
  both("gelu", [](const Tensor& x) { return gelu(x); });
  both("gelu_tanh", [](const Tensor& x) { return gelu(x, GeluForm::tanh); });
  both("mish", mish);
  both("softplus", [](const Tensor& x) { return softplus(x); });
  both("elu", [](const Tensor& x) { return elu(x); });
  both("hardswish", hardswish);
  both("erf", erf);
  both("sin", sin);
  both("square", square);
  both("sqrt", sqrt);
  both("abs", abs);
  forward("round", round);
  forward("pow_2p5", [](const Tensor& x) { return pow(x, 2.5); });
  struct Binary {
    const char* name;
    Tensor (*op)(const Tensor&, const Tensor&);
    bool row;
  };
  for (const Binary& b :
       {Binary{"add", add, false}, {"mul_channel", mul, true}, {"maximum", maximum, false}})
    benchmark::RegisterBenchmark(b.name, [b](benchmark::State& s) {
      binary(s, b.op, b.row);
    })->UseRealTime();
  benchmark::RegisterBenchmark("where_zero", [](benchmark::State& s) {
    const Tensor x = input(), mask = gt(x, 0.0), zero = zeros({});
    for (auto _ : s) benchmark::DoNotOptimize(where(mask, x, zero).raw_data());
    report(s, 9);
  })->UseRealTime();
  benchmark::RegisterBenchmark("gt_zero", [](benchmark::State& s) {
    const Tensor x = input();
    for (auto _ : s) benchmark::DoNotOptimize(gt(x, 0.0).raw_data());
    report(s, 5);
  })->UseRealTime();
}

}  // namespace

int main(int argc, char** argv) {
  add_all();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}

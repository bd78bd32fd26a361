// Convolution layers of ResNet-50 (batch 8, 224 x 224) and depthwise layers of MobileNetV2, forward
// and both gradients, through the public operators. GFLOP/s counts 2 operations per product, GB/s
// every array once. Run with --benchmark_repetitions=5 for medians, TESSERA_NUM_THREADS=n.

#include <benchmark/benchmark.h>

#include "autograd/node.h"
#include "ops/conv/conv2d.h"
#include "ops/conv/deform_conv2d.h"
#include "tensor/view.h"

namespace {

using namespace tessera;

struct Layer {
  const char* name;
  int64_t batch, size, in, out, kernel, stride, groups;
};

constexpr Layer kResnet50[] = {
    {"conv1", 8, 224, 3, 64, 7, 2, 1},           {"layer1.1x1_in", 8, 56, 64, 64, 1, 1, 1},
    {"layer1.1x1_a", 8, 56, 256, 64, 1, 1, 1},   {"layer1.3x3", 8, 56, 64, 64, 3, 1, 1},
    {"layer1.1x1_b", 8, 56, 64, 256, 1, 1, 1},   {"layer2.1x1_in", 8, 56, 256, 128, 1, 1, 1},
    {"layer2.3x3_s2", 8, 56, 128, 128, 3, 2, 1}, {"layer2.down", 8, 56, 256, 512, 1, 2, 1},
    {"layer2.1x1_a", 8, 28, 512, 128, 1, 1, 1},  {"layer2.3x3", 8, 28, 128, 128, 3, 1, 1},
    {"layer2.1x1_b", 8, 28, 128, 512, 1, 1, 1},  {"layer3.1x1_in", 8, 28, 512, 256, 1, 1, 1},
    {"layer3.3x3_s2", 8, 28, 256, 256, 3, 2, 1}, {"layer3.down", 8, 28, 512, 1024, 1, 2, 1},
    {"layer3.1x1_a", 8, 14, 1024, 256, 1, 1, 1}, {"layer3.3x3", 8, 14, 256, 256, 3, 1, 1},
    {"layer3.1x1_b", 8, 14, 256, 1024, 1, 1, 1}, {"layer4.1x1_in", 8, 14, 1024, 512, 1, 1, 1},
    {"layer4.3x3_s2", 8, 14, 512, 512, 3, 2, 1}, {"layer4.down", 8, 14, 1024, 2048, 1, 2, 1},
    {"layer4.1x1_a", 8, 7, 2048, 512, 1, 1, 1},  {"layer4.3x3", 8, 7, 512, 512, 3, 1, 1},
    {"layer4.1x1_b", 8, 7, 512, 2048, 1, 1, 1},
};

constexpr Layer kDepthwise[] = {
    {"dw_112x32", 8, 112, 32, 32, 3, 1, 32},       {"dw_112x96_s2", 8, 112, 96, 96, 3, 2, 96},
    {"dw_56x144", 8, 56, 144, 144, 3, 1, 144},     {"dw_56x144_s2", 8, 56, 144, 144, 3, 2, 144},
    {"dw_28x192", 8, 28, 192, 192, 3, 1, 192},     {"dw_14x384", 8, 14, 384, 384, 3, 1, 384},
    {"dw_14x576_s2", 8, 14, 576, 576, 3, 2, 576},  {"dw_7x960", 8, 7, 960, 960, 3, 1, 960},
    {"dw_14x672_5x5", 8, 14, 672, 672, 5, 1, 672},
};

struct Operands {
  Tensor x, w, g;
  Conv2dOptions options;
  double flops, bytes;
};

Operands make(const Layer& l, DType dtype) {
  Operands o;
  o.options = {.stride = l.stride, .padding = l.kernel / 2, .groups = l.groups};
  o.x = full({l.batch, l.size, l.size, l.in}, 0.5, dtype);
  o.w = full({l.out, l.kernel, l.kernel, l.in / l.groups}, 0.01, dtype);
  const Tensor y = conv2d(o.x, o.w, {}, o.options);
  o.g = full_like(y, 0.25);
  o.flops = 2.0 * static_cast<double>(y.numel() * l.kernel * l.kernel * (l.in / l.groups));
  o.bytes = static_cast<double>(o.x.nbytes() + y.nbytes() + o.w.nbytes());
  return o;
}

enum class Pass { forward, input_grad, weight_grad };

void run(benchmark::State& state, const Layer& layer, Pass pass, DType dtype) {
  const Operands o = make(layer, dtype);
  const NoGradGuard inference;
  const auto once = [&] {
    Tensor result;
    if (pass == Pass::forward) result = conv2d(o.x, o.w, {}, o.options);
    if (pass == Pass::input_grad) result = conv2d_input_grad(o.g, o.w, o.x.shape(), o.options);
    if (pass == Pass::weight_grad) result = conv2d_weight_grad(o.g, o.x, o.w.shape(), o.options);
    benchmark::DoNotOptimize(result.raw_data());
  };
  for (int i = 0; i < 2; ++i) once();  // fresh memory, primitives and packed weights
  for (auto _ : state) once();
  using benchmark::Counter;
  state.counters["GFLOP/s"] = Counter(o.flops * 1e-9, Counter::kIsIterationInvariantRate);
  state.counters["GB/s"] = Counter(o.bytes * 1e-9, Counter::kIsIterationInvariantRate);
}

void deform(benchmark::State& state) {
  const Tensor x = full({1, 56, 56, 256}, 0.5), w = full({256, 3, 3, 256}, 0.01);
  const Tensor offset = full({1, 56, 56, 18}, 0.3), mask = full({1, 56, 56, 9}, 0.5);
  const NoGradGuard inference;
  for (auto _ : state)
    benchmark::DoNotOptimize(deform_conv2d(x, offset, mask, w, {}, {.padding = 1}).raw_data());
  state.counters["GFLOP/s"] = benchmark::Counter(2e-9 * 56 * 56 * 256 * 256 * 9,
                                                 benchmark::Counter::kIsIterationInvariantRate);
}

template <size_t N>
void add(const char* group, const Layer (&layers)[N], DType dtype) {
  const std::pair<const char*, Pass> passes[] = {{"forward", Pass::forward},
                                                 {"input_grad", Pass::input_grad},
                                                 {"weight_grad", Pass::weight_grad}};
  for (const Layer& layer : layers)
    for (const auto& [name, pass] : passes)
      benchmark::RegisterBenchmark(
          cat(group, '/', layer.name, '/', name).c_str(),
          [&layer, pass = pass, dtype](benchmark::State& state) { run(state, layer, pass, dtype); })
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond);
}

}  // namespace

int main(int argc, char** argv) {
  add("resnet50", kResnet50, DType::f32);
  add("depthwise", kDepthwise, DType::f32);
  add("resnet50_f64", kResnet50, DType::f64);
  benchmark::RegisterBenchmark("deform_conv2d/56x256", deform)
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

// Batch norm and pooling at ResNet-50's shapes, batch 8 x 224, in GB/s of the least traffic each
// kernel needs, beside a plain copy of the same size: the ceiling of this machine.

#include <benchmark/benchmark.h>

#include <cstring>

#include "autograd/engine.h"
#include "ops/norm/batch_norm.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pool/adaptive_pool.h"
#include "ops/pool/max_pool.h"
#include "tensor/parallel.h"
#include "tensor/view.h"

using namespace tessera;

namespace {

Tensor image(const Shape& shape) {
  Tensor x = empty(shape);
  float* p = x.data<float>();
  for (int64_t i = 0; i < x.numel(); ++i)
    p[i] = static_cast<float>((i * 2654435761u) >> 8 & 0xFFFF) / 65536.0f;
  return x;
}

Shape shape_of(const benchmark::State& state) {
  return {8, state.range(0), state.range(0), state.range(1)};
}

void report(benchmark::State& state, int64_t bytes) {
  state.SetBytesProcessed(state.iterations() * bytes);
  state.counters["threads"] = num_threads();
}

// Reads x once and writes y once.
void Copy(benchmark::State& state) {
  const Tensor x = image(shape_of(state));
  Tensor y = empty_like(x);
  for (auto _ : state) {
    const char* from = static_cast<const char*>(x.raw_data());
    char* to = static_cast<char*>(y.raw_data());
    parallel_for(0, x.nbytes(), 65536, [&](int64_t b, int64_t e) {
      std::memcpy(to + b, from + b, static_cast<size_t>(e - b));
    });
    benchmark::ClobberMemory();
  }
  report(state, 2 * x.nbytes());
}

struct BatchNormData {
  Tensor x, weight, bias, mean, var;
  explicit BatchNormData(const Shape& s)
      : x(image(s)),
        weight(ones({s.back()})),
        bias(zeros({s.back()})),
        mean(zeros({s.back()})),
        var(ones({s.back()})) {}
  Tensor run(bool training) const {
    return batch_norm(x, weight, bias, mean, var, {.training = training});
  }
};

// Statistics read x, normalising reads it again and writes y.
void BatchNormTrainForward(benchmark::State& state) {
  const BatchNormData d(shape_of(state));
  for (auto _ : state) benchmark::DoNotOptimize(d.run(true));
  report(state, 3 * d.x.nbytes());
}

void BatchNormEvalForward(benchmark::State& state) {
  const BatchNormData d(shape_of(state));
  for (auto _ : state) benchmark::DoNotOptimize(d.run(false));
  report(state, 2 * d.x.nbytes());
}

// Two reads of x and of the gradient, one write.
void BatchNormBackward(benchmark::State& state) {
  BatchNormData d(shape_of(state));
  d.x.set_requires_grad(true);
  d.weight.set_requires_grad(true);
  d.bias.set_requires_grad(true);
  const Tensor y = d.run(true), g = image(shape_of(state));
  for (auto _ : state)
    benchmark::DoNotOptimize(grad({y}, {d.x, d.weight, d.bias}, {g}, {.retain_graph = true}));
  report(state, 5 * d.x.nbytes());
}

// The end of a residual block in training, relu(norm(x) + residual): in the norm's own passes, or
// as three operators. Both report the arrays that the fused kernels read and write, each counted
// once per pass: forward x twice, the residual, y; backward the gradient, x and y, writing the
// masked gradient, and that and x again, writing gx.
struct BlockEnd {
  BatchNormData d;
  Tensor residual, g;
  bool fused;
  BlockEnd(const Shape& s, bool fused) : d(s), residual(image(s)), g(image(s)), fused(fused) {
    for (Tensor* t : {&d.x, &d.weight, &d.bias, &residual}) t->set_requires_grad(true);
  }
  Tensor forward() const {
    if (!fused) return activate(d.run(true) + residual, Activation::relu);
    return batch_norm(d.x, d.weight, d.bias, d.mean, d.var, {.training = true},
                      {residual, Activation::relu});
  }
};

template <bool kFused>
void BlockEndForward(benchmark::State& state) {
  const BlockEnd block(shape_of(state), kFused);
  for (auto _ : state) benchmark::DoNotOptimize(block.forward());
  report(state, 4 * block.g.nbytes());
}

template <bool kFused>
void BlockEndBackward(benchmark::State& state) {
  const BlockEnd block(shape_of(state), kFused);
  const Tensor y = block.forward();
  for (auto _ : state)
    benchmark::DoNotOptimize(grad({y}, {block.d.x, block.d.weight, block.d.bias, block.residual},
                                  {block.g}, {.retain_graph = true}));
  report(state, 7 * block.g.nbytes());
}

const MaxPool2dOptions kStem{.kernel = 3, .stride = 2, .padding = 1};

void MaxPoolInference(benchmark::State& state) {
  const Tensor x = image(shape_of(state));
  for (auto _ : state) benchmark::DoNotOptimize(max_pool2d(x, kStem));
  report(state, x.nbytes() * 5 / 4);
}

// Also writes one i32 per output.
void MaxPoolTrain(benchmark::State& state) {
  Tensor x = image(shape_of(state));
  x.set_requires_grad(true);
  for (auto _ : state) benchmark::DoNotOptimize(max_pool2d(x, kStem));
  report(state, x.nbytes() * 6 / 4);
}

void MaxPoolBackward(benchmark::State& state) {
  Tensor x = image(shape_of(state));
  x.set_requires_grad(true);
  const Tensor y = max_pool2d(x, kStem), g = ones_like(y);
  for (auto _ : state) benchmark::DoNotOptimize(grad({y}, {x}, {g}, {.retain_graph = true}));
  report(state, x.nbytes() * 6 / 4);
}

void GlobalAverage(benchmark::State& state) {
  const Tensor x = image(shape_of(state));
  for (auto _ : state) benchmark::DoNotOptimize(global_avg_pool2d(x));
  report(state, x.nbytes());
}

// Height = width and channels of ResNet-50's batch norms.
void resnet50(benchmark::internal::Benchmark* b) {
  for (const auto& [side, channels] :
       {std::pair{112, 64}, {56, 64}, {56, 256}, {28, 128}, {28, 512}, {14, 1024}, {7, 2048}})
    b->Args({side, channels});
  b->UseRealTime()->Unit(benchmark::kMicrosecond);
}

BENCHMARK(Copy)->Apply(resnet50);
BENCHMARK(BatchNormTrainForward)->Apply(resnet50);
BENCHMARK(BatchNormEvalForward)->Apply(resnet50);
BENCHMARK(BatchNormBackward)->Apply(resnet50);
BENCHMARK(BlockEndForward<false>)->Apply(resnet50);
BENCHMARK(BlockEndForward<true>)->Apply(resnet50);
BENCHMARK(BlockEndBackward<false>)->Apply(resnet50);
BENCHMARK(BlockEndBackward<true>)->Apply(resnet50);
BENCHMARK(MaxPoolInference)->Args({112, 64})->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(MaxPoolTrain)->Args({112, 64})->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(MaxPoolBackward)->Args({112, 64})->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(GlobalAverage)->Args({7, 2048})->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace

BENCHMARK_MAIN();

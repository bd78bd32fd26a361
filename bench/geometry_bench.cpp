// Resizing, grid sampling, RoI Align, non-maximum suppression and joining at the sizes that
// detectors and generators use. bytes_per_second counts every array once; items are output
// locations, regions or boxes. Run with --benchmark_repetitions=5 for medians,
// TESSERA_NUM_THREADS=n.

#include <benchmark/benchmark.h>

#include <cmath>

#include "autograd/engine.h"
#include "ops/detect/nms.h"
#include "ops/detect/roi_align.h"
#include "ops/image/grid_sample.h"
#include "ops/image/resize.h"
#include "ops/index/concat.h"
#include "ops/index/sort.h"
#include "ops/random/dropout.h"
#include "ops/random/random.h"

namespace {

using namespace tessera;

void count_bytes(benchmark::State& state, int64_t bytes) {
  state.SetBytesProcessed(state.iterations() * bytes);
}

Tensor image(const Shape& shape) {
  Generator g(1);
  return rand(shape, g, {.lo = -1, .hi = 1});
}

void run_resize(benchmark::State& state, const Shape& shape, ResizeMode mode, bool backward) {
  Tensor x = image(shape);
  const Shape size{shape[1] * 2, shape[2] * 2};
  const Tensor y = resize(x, size, {mode});
  x.set_requires_grad(backward);
  const Tensor recorded = resize(x, size, {mode});
  for (auto _ : state) {
    if (backward)
      benchmark::DoNotOptimize(grad({recorded}, {x}, {y}, {.retain_graph = true}));
    else
      benchmark::DoNotOptimize(resize(x, size, {mode}));
  }
  count_bytes(state, x.nbytes() + y.nbytes());
}
BENCHMARK_CAPTURE(run_resize, bilinear_64x64x256, {1, 64, 64, 256}, ResizeMode::bilinear, false);
BENCHMARK_CAPTURE(run_resize, bilinear_64x64x256_grad, {1, 64, 64, 256}, ResizeMode::bilinear,
                  true);
BENCHMARK_CAPTURE(run_resize, bilinear_512x512x3, {1, 512, 512, 3}, ResizeMode::bilinear, false);
BENCHMARK_CAPTURE(run_resize, bicubic_64x64x256, {1, 64, 64, 256}, ResizeMode::bicubic, false);
BENCHMARK_CAPTURE(run_resize, nearest_40x40x256, {1, 40, 40, 256}, ResizeMode::nearest, false);
BENCHMARK_CAPTURE(run_resize, nearest_40x40x256_grad, {1, 40, 40, 256}, ResizeMode::nearest, true);

void run_grid_sample(benchmark::State& state, int64_t size, int64_t channels, bool backward) {
  Tensor x = image({1, size, size, channels});
  const float c = std::cos(0.3f), s = std::sin(0.3f);
  Tensor grid = affine_grid(from_vector<float>({c, -s, 0.1f, s, c, 0}, {1, 2, 3}), size, size);
  const Tensor g = image(x.shape());
  x.set_requires_grad(backward);
  grid.set_requires_grad(backward);
  const Tensor recorded = grid_sample(x, grid);
  for (auto _ : state) {
    if (backward)
      benchmark::DoNotOptimize(grad({recorded}, {x, grid}, {g}, {.retain_graph = true}));
    else
      benchmark::DoNotOptimize(grid_sample(x, grid));
  }
  count_bytes(state, 2 * x.nbytes() + grid.nbytes());
  state.SetItemsProcessed(state.iterations() * size * size);
}
BENCHMARK_CAPTURE(run_grid_sample, 256x256x3, 256, 3, false);
BENCHMARK_CAPTURE(run_grid_sample, 64x64x128, 64, 128, false);
BENCHMARK_CAPTURE(run_grid_sample, 64x64x128_grad, 64, 128, true);

/// Boxes of an 800 x 1333 image, sides from 16 to 400 pixels.
Tensor proposals(int64_t count) {
  Generator g(2);
  std::vector<float> v;
  for (int64_t i = 0; i < count; ++i) {
    const double side = 16 * std::exp(g.uniform() * std::log(25.0)), ratio = g.uniform(0.5, 2.0);
    const double w = side * std::sqrt(ratio), h = side / std::sqrt(ratio);
    const double x = g.uniform(0, 1333 - w), y = g.uniform(0, 800 - h);
    v.insert(v.end(), {0.0f, static_cast<float>(x), static_cast<float>(y),
                       static_cast<float>(x + w), static_cast<float>(y + h)});
  }
  return from_vector(v, {count, 5});
}

// One level of a feature pyramid: 512 regions, 7 x 7 bins, 2 samples per bin and axis.
void run_roi_align(benchmark::State& state, bool backward) {
  Tensor x = image({1, 100, 167, 256});
  const Tensor rois = proposals(512);
  const RoiAlignOptions o{.spatial_scale = 1.0 / 8, .sampling_ratio = 2};
  const Tensor g = image({512, 7, 7, 256});
  x.set_requires_grad(backward);
  const Tensor recorded = roi_align(x, rois, o);
  for (auto _ : state) {
    if (backward)
      benchmark::DoNotOptimize(grad({recorded}, {x}, {g}, {.retain_graph = true}));
    else
      benchmark::DoNotOptimize(roi_align(x, rois, o));
  }
  count_bytes(state, x.nbytes() + rois.nbytes() + g.nbytes());
  state.SetItemsProcessed(state.iterations() * 512);
}
BENCHMARK_CAPTURE(run_roi_align, forward, false);
BENCHMARK_CAPTURE(run_roi_align, grad, true);

void run_nms(benchmark::State& state, bool batched) {
  const int64_t count = state.range(0);
  Generator g(3);
  const Tensor rois = proposals(count), scores = rand({count}, g);
  const Tensor classes = randint(0, 80, {count}, g);
  std::vector<float> boxes;
  const std::vector<float> v = rois.to_vector<float>();
  for (size_t i = 0; i < v.size(); ++i)
    if (i % 5 != 0) boxes.push_back(v[i]);
  const Tensor b = from_vector(boxes, {count, 4});
  for (auto _ : state)
    benchmark::DoNotOptimize(batched ? batched_nms(b, scores, classes, 0.5) : nms(b, scores, 0.7));
  state.SetItemsProcessed(state.iterations() * count);
}
BENCHMARK_CAPTURE(run_nms, nms, false)->Arg(2000)->Arg(10000);
BENCHMARK_CAPTURE(run_nms, batched_80_classes, true)->Arg(2000)->Arg(10000);

void run_concat(benchmark::State& state) {
  const Tensor a = image({8, 40, 40, 256}), b = image({8, 40, 40, 128});
  for (auto _ : state) benchmark::DoNotOptimize(concat({a, b}, 3));
  count_bytes(state, 2 * (a.nbytes() + b.nbytes()));
}
BENCHMARK(run_concat);

void run_topk(benchmark::State& state) {
  const Tensor x = image({1, 200000});
  for (auto _ : state) benchmark::DoNotOptimize(topk(x, 2000));
  count_bytes(state, x.nbytes());
  state.SetItemsProcessed(state.iterations() * x.numel());
}
BENCHMARK(run_topk);

void run_dropout(benchmark::State& state) {
  const Tensor x = image({1 << 20});
  Generator g(4);
  for (auto _ : state) benchmark::DoNotOptimize(dropout(x, 0.5, true, g));
  count_bytes(state, 2 * x.nbytes());
}
BENCHMARK(run_dropout);

void run_randn(benchmark::State& state) {
  Generator g(5);
  for (auto _ : state) benchmark::DoNotOptimize(randn({1 << 20}, g));
  count_bytes(state, int64_t{4} << 20);
  state.SetItemsProcessed(state.iterations() * (1 << 20));
}
BENCHMARK(run_randn);

}  // namespace

BENCHMARK_MAIN();

#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "tensor/device.h"

namespace tessera::apps {

struct BenchOptions {
  std::string model = "resnet50";
  int64_t batch = 8;
  int64_t height = 0, width = 0;  ///< 0: the network's usual size
  bool train = false;
  Device device = kCpu;
  double seconds = 5;     ///< timed at least this long, and at least 5 steps
  bool profile = false;   ///< time every kernel of the timed steps
  bool by_shape = false;  ///< a row of the profile for each combination of shapes
};

/// Times a network on random images. An inference step is one run of the network's plan
/// (nn/inference_plan.h); a training step is forward, cross entropy, backward and SGD with
/// momentum. Three steps come before the timing, so that the caches are warm. Returns model, batch,
/// size, mode, threads, parameters, steps, images_per_second (median of the timed steps), gflops
/// (multiply and add counted apart; training counts three times the forward), peak_rss_mb,
/// tensors_peak_mb (the most that tensors took at once), allocator_held_mb (with free memory that
/// is kept for reuse), step_ms {p10, p50, p90, min, max}, and profile as profile_json() where it is
/// wanted.
nlohmann::json run_bench(const BenchOptions& options);

/// The most memory this process has held resident so far, in units of 2^20 bytes.
double peak_rss_mb();

/// Adds "bench" and "models" to the front end.
void add_bench_command(CLI::App& parent);
void add_models_command(CLI::App& parent);

}  // namespace tessera::apps

#include "apps/bench/bench.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>

#include "apps/bench/cold.h"
#include "apps/common/cli.h"
#include "apps/common/profile.h"
#include "autograd/engine.h"
#include "models/registry.h"
#include "nn/inference_plan.h"
#include "nn/init.h"
#include "nn/optim/optimizer.h"
#include "ops/loss/cross_entropy.h"
#include "ops/random/random.h"
#include "tensor/allocator.h"
#include "tensor/cuda_plugin.h"
#include "tensor/parallel.h"
#include "tensor/view.h"

namespace tessera::apps {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr int kWarmUpSteps = 3;
constexpr int kMinSteps = 5;

double percentile(const std::vector<double>& sorted, double p) {
  return sorted[static_cast<size_t>(p * static_cast<double>(sorted.size() - 1) + 0.5)];
}

// A fixed target for every image, as the stored whole-network results use.
Tensor fixed_targets(int64_t batch, int64_t classes) {
  std::vector<int64_t> targets;
  for (int64_t i = 0; i < batch; ++i) targets.push_back((7 * i + 3) % classes);
  return from_vector(targets);
}

}  // namespace

double peak_rss_mb() {
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

json run_bench(const BenchOptions& o) {
  const models::ModelInfo& info = models::find_model(o.model);
  const int64_t height = o.height > 0 ? o.height : info.input_size;
  const int64_t width = o.width > 0 ? o.width : info.input_size;
  constexpr int64_t kClasses = 1000;
  manual_seed(0);
  const std::shared_ptr<nn::Module> net = info.create({.num_classes = kClasses});
  net->to(o.device);
  const Tensor images = view::to(randn({o.batch, height, width, 3}, default_generator()), o.device);
  const Tensor targets = view::to(fixed_targets(o.batch, kClasses), o.device);
  net->train(o.train);
  nn::Sgd optimizer(net->parameters(), {.lr = 0.01, .momentum = 0.9, .weight_decay = 1e-4});
  const auto forward = [&] {
    const KernelSpan span("forward");
    return net->forward(images);
  };
  std::optional<nn::InferencePlan> plan;
  if (!o.train) plan.emplace(nn::optimize_for_inference(*net, images));
  const auto step = [&] {
    if (plan) {
      const KernelSpan span("forward");
      (*plan)(images);
    } else {
      optimizer.zero_grad();
      backward(cross_entropy(forward(), targets));
      optimizer.step();
    }
    if (!o.device.is_cpu()) cuda_synchronize(o.device.index);
  };
  for (int i = 0; i < kWarmUpSteps; ++i) step();
  std::vector<double> times;
  double total = 0;
  const auto profile = std::make_shared<Profile>();
  std::optional<KernelObserverGuard> profiling;
  if (o.profile) profiling.emplace(profile);
  while (total < o.seconds || static_cast<int>(times.size()) < kMinSteps) {
    const auto start = Clock::now();
    step();
    times.push_back(std::chrono::duration<double>(Clock::now() - start).count());
    total += times.back();
  }
  profiling.reset();
  const double peak_mb = peak_rss_mb();
  const MemoryStats memory = allocator(o.device).stats();
  const auto mb = [](int64_t bytes) { return static_cast<double>(bytes) / (1024.0 * 1024.0); };
  std::sort(times.begin(), times.end());
  const double median = percentile(times, 0.5);
  const double flops = 2.0 * static_cast<double>(models::count_macs(*net, {1, height, width, 3})) *
                       static_cast<double>(o.batch) * (o.train ? 3 : 1);
  const auto ms = [&](double p) { return 1e3 * percentile(times, p); };
  json result = {
      {"model", o.model},
      {"batch", o.batch},
      {"height", height},
      {"width", width},
      {"mode", o.train ? "train" : "infer"},
      {"device", to_string(o.device)},
      {"threads", num_threads()},
      {"parameters", net->parameter_count()},
      {"steps", times.size()},
      {"images_per_second", static_cast<double>(o.batch) / median},
      {"gflops", flops / median / 1e9},
      {"peak_rss_mb", peak_mb},
      {"tensors_peak_mb", mb(memory.peak)},
      {"allocator_held_mb", mb(memory.live + memory.cached)},
      {"step_ms",
       {{"p10", ms(0.1)}, {"p50", ms(0.5)}, {"p90", ms(0.9)}, {"min", ms(0)}, {"max", ms(1)}}}};
  if (o.profile)
    result["profile"] =
        profile_json(*profile, total, static_cast<int64_t>(times.size()), o.by_shape);
  return result;
}

void add_bench_command(CLI::App& parent) {
  auto o = std::make_shared<BenchOptions>();
  auto size = std::make_shared<std::string>();
  auto mode = std::make_shared<std::string>("infer");
  auto weights = std::make_shared<std::string>();
  auto as_json = std::make_shared<bool>(false);
  CLI::App* c = parent.add_subcommand("bench", "Time a network on random images");
  c->add_option("--model", o->model, "Name as listed by 'tessera models'")->capture_default_str();
  c->add_option("--batch", o->batch, "Images per step")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  c->add_option("--size", *size, "Input HEIGHTxWIDTH (default: the network's usual size)");
  c->add_option("--mode", *mode, "infer, train, or cold: one prediction by a new process")
      ->check(CLI::IsMember({"infer", "train", "cold"}))
      ->capture_default_str();
  c->add_option("--seconds", o->seconds, "Time at least this long")
      ->check(non_negative())
      ->capture_default_str();
  c->add_option("--weights", *weights, "Mode cold: weights (safetensors; default: random)");
  c->add_flag("--profile", o->profile, "Add a table of the kernels' times");
  c->add_flag("--by-shape", o->by_shape, "With --profile: a row for each combination of shapes");
  add_device_option(*c, o->device);
  add_threads_option(*c);
  c->add_flag("--json", *as_json, "Print one JSON object");
  c->callback([=, version = parent.version()] {
    if (!size->empty()) std::tie(o->height, o->width) = parse_size(*size, "--size");
    if (!weights->empty() && *mode != "cold") throw UsageError("--weights needs --mode cold");
    if (o->profile && *mode == "cold") throw UsageError("--profile needs --mode infer or train");
    if (!o->device.is_cpu() && *mode == "cold")
      throw UsageError("--device needs --mode infer or train");
    if (o->by_shape && !o->profile) throw UsageError("--by-shape needs --profile");
    o->train = *mode == "train";
    json result = *mode == "cold" ? run_cold(*o, *weights) : run_bench(*o);
    result["program"] = "Tessera " + version;
    if (*as_json) {
      std::printf("%s\n", result.dump().c_str());
      return;
    }
    if (*mode == "cold") {
      std::printf(
          "%s cold, batch %ld: ready after %.1f ms, predicted %.1f ms later, peak memory "
          "%.0f MB, %d threads\n",
          o->model.c_str(), static_cast<long>(o->batch), result["create_ms"].get<double>(),
          result["predict_ms"].get<double>(), result["peak_rss_mb"].get<double>(), num_threads());
      return;
    }
    std::printf(
        "%s %s batch %ld: %.2f images/s, %.1f GFLOP/s, step %.1f ms (10-90 %%: %.1f-%.1f), "
        "peak memory %.0f MB, %d threads\n",
        o->model.c_str(), mode->c_str(), static_cast<long>(o->batch),
        result["images_per_second"].get<double>(), result["gflops"].get<double>(),
        result["step_ms"]["p50"].get<double>(), result["step_ms"]["p10"].get<double>(),
        result["step_ms"]["p90"].get<double>(), result["peak_rss_mb"].get<double>(), num_threads());
    if (o->profile) std::fputs(profile_table(result["profile"]).c_str(), stdout);
  });
}

void add_models_command(CLI::App& parent) {
  auto as_json = std::make_shared<bool>(false);
  CLI::App* c = parent.add_subcommand("models", "List the networks that can be made by name");
  c->add_flag("--json", *as_json, "Print a JSON list");
  c->callback([=] {
    json list = json::array();
    const nn::init::Skip only_counted;
    for (const models::ModelInfo& info : models::registry()) {
      cpu_allocator().trim();  // the network before has left blocks of other sizes
      const auto net = info.create({});
      list.push_back({{"name", info.name},
                      {"parameters", net->parameter_count()},
                      {"macs", models::count_macs(*net, {1, info.input_size, info.input_size, 3})},
                      {"input_size", info.input_size},
                      {"source", info.source}});
    }
    if (*as_json) {
      std::printf("%s\n", list.dump().c_str());
      return;
    }
    std::printf("%-20s %12s %10s %6s  %s\n", "name", "parameters", "GMAC", "input", "source");
    for (const json& m : list)
      std::printf("%-20s %12ld %10.2f %6ld  %s\n", m["name"].get<std::string>().c_str(),
                  static_cast<long>(m["parameters"].get<int64_t>()),
                  static_cast<double>(m["macs"].get<int64_t>()) / 1e9,
                  static_cast<long>(m["input_size"].get<int64_t>()),
                  m["source"].get<std::string>().c_str());
  });
}

}  // namespace tessera::apps

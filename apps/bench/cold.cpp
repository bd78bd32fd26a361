#include "apps/bench/cold.h"

#include <chrono>
#include <memory>

#include "autograd/node.h"
#include "models/registry.h"
#include "nn/init.h"
#include "nn/io/weights.h"
#include "ops/reduce/extreme.h"
#include "tensor/parallel.h"

namespace tessera::apps {

namespace {

std::shared_ptr<nn::Module> create(const models::ModelInfo& info, const std::string& weights) {
  if (weights.empty()) return info.create({});
  const nn::init::Skip loaded_below;
  std::shared_ptr<nn::Module> net = info.create({});
  nn::io::load_weights(*net, weights);
  return net;
}

}  // namespace

nlohmann::json run_cold(const BenchOptions& o, const std::string& weights) {
  const auto now = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  };
  const double begin = now();
  const models::ModelInfo& info = models::find_model(o.model);
  const int64_t height = o.height > 0 ? o.height : info.input_size;
  const int64_t width = o.width > 0 ? o.width : info.input_size;
  const std::shared_ptr<nn::Module> net = create(info, weights);
  net->eval();
  const double created = now();
  NoGradGuard no_grad;
  argmax(net->forward(zeros({o.batch, height, width, 3})), 1);
  const double finished = now();
  return {{"model", o.model},
          {"batch", o.batch},
          {"height", height},
          {"width", width},
          {"mode", "cold"},
          {"threads", num_threads()},
          {"weights", weights.empty() ? "random" : "file"},
          {"create_ms", 1e3 * (created - begin)},
          {"predict_ms", 1e3 * (finished - created)},
          {"finished_at", finished},
          {"peak_rss_mb", peak_rss_mb()}};
}

}  // namespace tessera::apps

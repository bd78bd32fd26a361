#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "apps/common/output.h"
#include "models/reid/reid_net.h"

namespace tessera::apps {

/// What the network is and what it sees; stored with the weights.
struct ReidModelOptions {
  models::ReidConfig net;
  int64_t height = 256, width = 128;
};
nlohmann::json to_json(const ReidModelOptions& options);
/// Throws ValueError naming a field that is missing, of the wrong kind or out of range.
ReidModelOptions reid_model_from_json(const nlohmann::json& json);

struct ReidTrainOptions {
  std::filesystem::path data;
  std::filesystem::path out = "runs/reid";
  std::filesystem::path resume;   ///< a checkpoint of the same run
  std::filesystem::path weights;  ///< initial weights; what fits is taken
  Device device = kCpu;           ///< no part of the run's settings: it may go on elsewhere
  ReidModelOptions model;
  int64_t epochs = 60, batch = 32;
  double lr = 0.05, backbone_lr_scale = 0.1, weight_decay = 5e-4, momentum = 0.9;
  bool cosine = false;  ///< otherwise one step by 0.1 after two thirds of the epochs
  int64_t warm_epochs = 0;
  double erasing_p = 0;
  int64_t pad = 10;
  bool flip = true, color_jitter = false;
  double label_smoothing = 0;
  uint64_t seed = 0;
  int workers = 1;
  int64_t eval_every = 0;  ///< epochs between evaluations; 0: at the end only
  bool skip_corrupt = false;
  OutputOptions output;
};
/// The settings that decide the course of a run: a resumed run must agree in them.
nlohmann::json to_json(const ReidTrainOptions& options);

struct ReidTestOptions {
  std::filesystem::path data, weights, out = "runs/reid";
  Device device = kCpu;
  /// Used where the weight file does not say what it is.
  ReidModelOptions fallback;
  int64_t batch = 32;
  int workers = 1;
  bool rerank = false;  ///< also k-reciprocal re-ranking
  OutputOptions output;
};

struct ReidRankOptions {
  std::filesystem::path features = "runs/reid";  ///< folder that a test wrote
  std::filesystem::path picture;                 ///< default: rank_<index>.png in that folder
  int64_t index = 0, top = 10;
  OutputOptions output;
};

struct ReidDemoOptions {
  std::filesystem::path out = "runs/demo";
  Device device = kCpu;
  int64_t epochs = 0;  ///< 0: the demo's own number
  uint64_t seed = 0;
  OutputOptions output;
};

}  // namespace tessera::apps

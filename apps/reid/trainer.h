#pragma once

#include <string>
#include <vector>

#include "apps/reid/curves.h"
#include "apps/reid/features.h"
#include "apps/reid/options.h"

namespace tessera::apps {

struct ReidTrainResult {
  std::vector<EpochRecord> epochs;
  data::RetrievalMetrics metrics;  // of the final network; empty when interrupted
  ReidModelOptions model;          // with num_classes filled in
  int64_t skipped_images = 0;      // unreadable ones, each counted once
  double seconds = 0;
  bool interrupted = true;           // until the final evaluation is done
  std::filesystem::path checkpoint;  // after an interruption, what to resume; empty where nothing
                                     // was trained and options.out has an earlier run's file
};

/// Trains a re-ID network on a Market-1501 folder and evaluates it. The recipe is the baseline's:
/// SGD with Nesterov momentum, decay on everything, the backbone at a fraction of the head's rate,
/// a step after two thirds of the epochs (or cosine), warm-up by scaling the loss; pad-crop-flip
/// and optional erasing. Incomplete last batches are dropped.
///
/// Files in options.out: checkpoint.safetensors after every epoch and when stopped (resume goes on
/// bit for bit), net_last.safetensors, train.jsonl (a line per epoch), curves.png, features.npz and
/// images.json of the test set.
/// `stop` is asked after every batch; once it says yes the run ends with a checkpoint.
/// Throws ValueError (options, one identity only, batch larger than the set, checkpoint of another
/// run), IoError naming the file.
ReidTrainResult train_reid(const ReidTrainOptions& options, StopRequest stop = {});

}  // namespace tessera::apps

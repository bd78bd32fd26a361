#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "apps/bench/bench.h"

namespace tessera::apps {

/// One prediction by a process that has done nothing before: makes the network, reads `weights` (a
/// safetensors file; random weights where it is empty) and classifies o.batch black images. Returns
/// model, batch, height, width, mode "cold", threads, weights ("file" or "random"), create_ms
/// (until the network is ready), predict_ms (the prediction), peak_rss_mb and finished_at: seconds
/// of the steady clock, which on Linux all processes share, so that whoever started this one can
/// subtract the time at which it did. Throws as nn::io::load_weights does.
nlohmann::json run_cold(const BenchOptions& options, const std::string& weights);

}  // namespace tessera::apps

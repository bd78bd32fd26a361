#pragma once

#include <nlohmann/json.hpp>

#include "apps/reid/options.h"

namespace tessera::apps {

/// Renders a small set of pedestrians, trains ResNet-18 on it, evaluates before and after, and
/// writes report.html and result.json (rank1, rank5, rank10, mAP, rank1_untrained, mAP_untrained,
/// seconds, ...) into options.out, beside the training run's own files. Returns the content of
/// result.json. The images are drawn into options.out/data; IoError naming the file where that
/// holds images of another set. Where `stop` says yes before the report there is none, and the
/// result is
/// {"interrupted": true}.
nlohmann::json run_reid_demo(const ReidDemoOptions& options, const StopRequest& stop = {});

}  // namespace tessera::apps

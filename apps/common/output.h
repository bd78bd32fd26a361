#pragma once

#include "apps/common/progress.h"

namespace tessera::apps {

/// How people follow a run.
struct OutputOptions {
  bool json = false;   ///< the result as one JSON object on stdout
  bool quiet = false;  ///< no progress, no info lines
  ProgressMode progress() const { return quiet ? ProgressMode::kQuiet : ProgressMode::kAuto; }
};

}  // namespace tessera::apps

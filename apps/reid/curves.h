#pragma once

#include <cstdint>
#include <vector>

#include "apps/common/plot.h"

namespace tessera::apps {

/// One epoch as it was measured.
struct EpochRecord {
  int64_t epoch = 0;  // 1-based
  double loss = 0, accuracy = 0, lr = 0, seconds = 0;
  double rank1 = -1, mAP = -1;  // where evaluated
};

/// Loss and accuracy against the epoch.
Plot loss_plot(const std::vector<EpochRecord>& epochs);
Plot accuracy_plot(const std::vector<EpochRecord>& epochs);

}  // namespace tessera::apps

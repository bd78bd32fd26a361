#pragma once

#include <filesystem>
#include <memory>

#include "apps/reid/options.h"
#include "models/reid/reid_net.h"

namespace tessera::apps {

/// Weights with the network's description in the metadata.
void save_reid_weights(const std::filesystem::path& path, models::ReidNet& net,
                       const ReidModelOptions& model);
/// Builds the network a weight file describes, or `fallback` with num_classes read from the file's
/// classifier, and loads it strictly. Throws IoError / ValueError naming the file.
std::shared_ptr<models::ReidNet> load_reid_weights(const std::filesystem::path& path,
                                                   const ReidModelOptions& fallback,
                                                   ReidModelOptions& model);

}  // namespace tessera::apps

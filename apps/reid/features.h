#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "apps/reid/options.h"
#include "data/eval/reid.h"
#include "data/market1501.h"
#include "models/reid/reid_net.h"

namespace tessera::apps {

/// Retrieval features of a list of images with what the protocol needs to know of each.
struct ReidFeatures {
  int64_t dim = 0;
  std::vector<float> values;  // (rows, dim), unit length
  std::vector<int64_t> labels, cameras;
  std::vector<std::string> paths;  // absolute

  data::RetrievalSet set() const { return {dim, values, labels, cameras}; }
};

/// Runs every image, and its mirror image, through the network in evaluation mode; the mode is put
/// back. Images are resized to the network's size with Pillow's bicubic filter and normalised with
/// the ImageNet statistics. `stop` is asked after every batch; once it says yes the rows so far
/// come back. Throws IoError naming an unreadable file.
ReidFeatures extract_features(models::ReidNet& net, const ReidModelOptions& model,
                              const std::vector<data::ReidImage>& images, int64_t batch,
                              int workers, const std::string& label, const OutputOptions& output,
                              const StopRequest& stop = {});

/// Rank@1/5/10, mAP (trapezoid and rectangular), mINP and counts as JSON.
nlohmann::json to_json(const data::RetrievalMetrics& metrics);

/// Writes features.npz (query_f, query_label, query_cam, gallery_f, gallery_label, gallery_cam) and
/// images.json (the paths, in the same order) into `folder`, atomically.
void save_features(const std::filesystem::path& folder, const ReidFeatures& query,
                   const ReidFeatures& gallery);
struct QueryAndGallery {
  ReidFeatures query, gallery;
};
/// Reads what save_features wrote; IoError when it is missing, damaged or inconsistent.
QueryAndGallery load_features(const std::filesystem::path& folder);

/// The ranking picture of some queries: query, then the `top` best gallery images, junk removed,
/// green where the identity matches.
data::Image draw_rankings(const QueryAndGallery& features, const std::vector<int64_t>& queries,
                          int64_t top, const std::string& title = "");

}  // namespace tessera::apps

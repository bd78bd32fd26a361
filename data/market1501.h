#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"

namespace tessera::data {

/// The two fields of a file name that re-identification needs.
struct ReidName {
  std::string identity_text;  // as written: classes are ordered by it
  int64_t identity = 0;       // -1: junk (ignored in the ranking), 0: distractor (always wrong)
  int64_t camera = 0;
};

/// Parses <identity>_c<camera>[s<sequence>]_<anything>: Market-1501 (0002_c1s1_000451_03.jpg),
/// DukeMTMC-reID (0005_c2_f0046985.jpg) and VeRi-776 (0002_c002_00030600_0.jpg). identity is -1 or
/// digits. `file_name` is a name without folders. Throws IoError naming `path` (the name when
/// empty) and the pattern when it does not match.
ReidName parse_reid_name(std::string_view file_name, const std::string& path = {});

struct ReidImage {
  std::filesystem::path path;
  int64_t identity = 0;
  int64_t camera = 0;
  int64_t label = -1;  // class in [0, identities) for training images, otherwise -1
};

/// The folders of a set: training images, queries, gallery.
inline constexpr std::array kMarket1501Folders{"bounding_box_train", "query", "bounding_box_test"};

/// A data set in Market-1501's layout.
struct Market1501 {
  std::vector<ReidImage> train;    // bounding_box_train
  std::vector<ReidImage> query;    // query
  std::vector<ReidImage> gallery;  // bounding_box_test, junk and distractors included
  int64_t train_identities = 0;

  /// The training images for ImageDataset.
  std::vector<ImageItem> train_items() const { return items(train); }
  static std::vector<ImageItem> items(const std::vector<ReidImage>& images);
};

/// Lists `root`/{bounding_box_train,query,bounding_box_test}. Images are in order of (identity as
/// written, file name); training labels are ranks of the identities in plain string order. Files
/// that are not images (Thumbs.db) and hidden ones are skipped, as is junk (-1) in the training
/// set. Throws IoError when a folder is missing or holds no image, or a name does not parse.
Market1501 load_market1501(const std::filesystem::path& root);

}  // namespace tessera::data

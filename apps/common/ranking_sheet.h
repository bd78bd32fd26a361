#pragma once

#include <string>
#include <vector>

#include "data/draw.h"

namespace tessera::apps {

/// One gallery image in the order of similarity.
struct RankedImage {
  data::Image image;
  bool correct = false;  // same identity as the query
  std::string note;      // small print below, for instance "0.87 c3"; may be empty
};

struct RankingRow {
  data::Image query;
  std::string note;                 // small print below the query
  std::vector<RankedImage> ranked;  // best first, junk already removed
};

struct RankingSheetOptions {
  int cell_height = 256, cell_width = 128;  // pixels each image is fitted into
  int top = 10;                             // ranked images per row
  std::string title;
};

/// The usual re-identification picture: per row a query titled "query" and its first `top` gallery
/// images titled with their ranks, green where the identity matches and red where not. Images
/// keep their proportions inside the cells. Rows may have fewer than `top` images.
/// Throws ValueError without rows, for an empty image, or for cells smaller than 16 or top < 1.
data::Image ranking_sheet(const std::vector<RankingRow>& rows,
                          const RankingSheetOptions& options = {});

}  // namespace tessera::apps

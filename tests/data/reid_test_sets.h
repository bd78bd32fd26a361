#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "data/eval/reid.h"
#include "tests/common/hash_fill.h"

namespace tessera::data::testing_sets {

/// A RetrievalSet with its data.
struct OwnedSet {
  int64_t dim = 0;
  std::vector<float> features;
  std::vector<int64_t> labels, cameras;

  RetrievalSet view() const { return {dim, features, labels, cameras}; }
};

using testing::hash_unit;

/// The sizes of a generated test and how far images of one identity scatter.
struct HashCase {
  std::string prefix;
  int64_t ids, queries, gallery, dim, cameras;
  double spread;
};

/// One side of a generated test: unit rows centre(identity) + spread * noise; the gallery has 6 %
/// junk and 10 % distractors.
inline OwnedSet hash_set(const HashCase& c, const std::string& which) {
  const bool gallery = which == "gallery";
  const int64_t rows = gallery ? c.gallery : c.queries;
  const auto label = hash_unit(c.prefix + "label." + which, rows);
  const auto camera = hash_unit(c.prefix + "cam." + which, rows);
  const auto special = hash_unit(c.prefix + "special." + which, rows);
  const auto centre = hash_unit(c.prefix + "centre", (c.ids + 2) * c.dim);
  const auto noise = hash_unit(c.prefix + "noise." + which, rows * c.dim);
  OwnedSet set;
  set.dim = c.dim;
  for (int64_t i = 0; i < rows; ++i) {
    int64_t id = static_cast<int64_t>(label[i] * static_cast<double>(c.ids)) + 1;
    if (gallery && special[i] < 0.16) id = special[i] < 0.06 ? -1 : 0;
    set.labels.push_back(id);
    set.cameras.push_back(static_cast<int64_t>(camera[i] * static_cast<double>(c.cameras)) + 1);
    const int64_t from = id == -1 ? c.ids + 1 : id;
    std::vector<float> row;
    double square = 0;
    for (int64_t k = 0; k < c.dim; ++k) {
      const float a = static_cast<float>(2 * centre[from * c.dim + k] - 1);
      const float b = static_cast<float>(2 * noise[i * c.dim + k] - 1);
      const float product = static_cast<float>(c.spread) * b;
      row.push_back(a + product);
      square += static_cast<double>(row.back()) * row.back();
    }
    for (const float v : row) set.features.push_back(v / static_cast<float>(std::sqrt(square)));
  }
  return set;
}

}  // namespace tessera::data::testing_sets

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/image.h"

/// A deterministic synthetic person re-identification set for demos and tests: drawn pedestrians
/// told apart by clothing, build, hair and bag, seen by cameras that differ in light, background
/// and viewing angle. Cameras change colours so much that raw colour is a poor cue across them,
/// and several identities share each garment colour.
namespace tessera::data {

struct PedestrianSetOptions {
  int train_identities = 64;
  int test_identities = 48;
  int cameras = 4;  // 1 .. 9: the file names have one digit for it
  int views = 4;    // images of one identity by one camera
  int height = 128;
  int width = 64;
  uint64_t seed = 7;
};

/// Draws one image (options.height x options.width, RGB). A pure function of its arguments:
/// identities and cameras look the same in every view, and the set sizes in `options` do not
/// matter. identity, camera and view count from 0.
/// Throws ValueError for negative indices, camera > 8 or sizes outside 16 .. 4096.
Image render_pedestrian(int identity, int camera, int view, const PedestrianSetOptions& options);

enum class PedestrianSplit { kTrain, kQuery, kGallery };

/// One image of the set. Train identities are 0 .. train_identities - 1, test identities follow.
struct PedestrianItem {
  PedestrianSplit split = PedestrianSplit::kTrain;
  int identity = 0;  // as render_pedestrian takes them, from 0
  int camera = 0;
  int view = 0;
  /// Market-1501 file name, identities and cameras counted from 1: 0001_c1s1_000001_00.jpg.
  std::string name;
};

/// Every image of the set, in the order train, query, gallery and by name within each. The query
/// of a test (identity, camera) is view 0, the gallery holds the others.
/// Throws ValueError for counts that are not positive, more than 9 cameras, fewer than 2 views or
/// more than 9999 identities.
std::vector<PedestrianItem> pedestrian_items(const PedestrianSetOptions& options);

/// Where write_market1501 puts an item below `folder`.
std::filesystem::path pedestrian_path(const std::filesystem::path& folder,
                                      const PedestrianItem& item);

/// Writes one encoded image; the extension of the path names the format.
using ImageWriter = std::function<void(const std::filesystem::path&, const Image&)>;

/// Writes the set as a Market-1501 folder: bounding_box_train, query and bounding_box_test below
/// `folder`, which are created. `progress(done, total)`, if given, is called after every image.
/// Throws what pedestrian_items and `write` throw, and IoError when a folder cannot be made.
void write_market1501(const std::filesystem::path& folder, const PedestrianSetOptions& options,
                      const ImageWriter& write,
                      const std::function<void(int64_t done, int64_t total)>& progress = {});

}  // namespace tessera::data

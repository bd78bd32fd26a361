#include "data/pedestrians.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <map>
#include <set>

#include "data/pedestrian_figure.h"

namespace tessera::data {
namespace {

/// Mean absolute difference in grey levels.
double difference(const Image& a, const Image& b) {
  double sum = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) sum += std::abs(a.pixels[i] - b.pixels[i]);
  return sum / static_cast<double>(a.pixels.size());
}

std::array<double, 3> mean_color(const Image& image) {
  std::array<double, 3> mean{};
  for (size_t i = 0; i < image.pixels.size(); ++i) mean[i % 3] += image.pixels[i];
  for (double& m : mean) m /= static_cast<double>(image.pixels.size() / 3);
  return mean;
}

TEST(Pedestrians, ImageIsAPureFunctionOfItsIndices) {
  PedestrianSetOptions options, larger;
  larger.train_identities = 200, larger.views = 9;
  const Image first = render_pedestrian(5, 2, 1, options);
  EXPECT_EQ(first.height, 128);
  EXPECT_EQ(first.width, 64);
  EXPECT_EQ(first.channels, 3);
  render_pedestrian(9, 0, 0, options);
  EXPECT_EQ(render_pedestrian(5, 2, 1, options), first);
  EXPECT_EQ(render_pedestrian(5, 2, 1, larger), first);
}

TEST(Pedestrians, EveryIndexAndTheSeedMatter) {
  const PedestrianSetOptions options;
  PedestrianSetOptions other;
  other.seed = options.seed + 1;
  const Image image = render_pedestrian(3, 1, 2, options);
  EXPECT_GT(difference(image, render_pedestrian(4, 1, 2, options)), 3);
  EXPECT_GT(difference(image, render_pedestrian(3, 2, 2, options)), 3);
  EXPECT_GT(difference(image, render_pedestrian(3, 1, 3, options)), 3);
  EXPECT_GT(difference(image, render_pedestrian(3, 1, 2, other)), 3);
}

TEST(Pedestrians, SizesScaleThePicture) {
  PedestrianSetOptions options;
  for (const auto& [height, width] : {std::pair{64, 32}, {96, 48}, {200, 90}}) {
    options.height = height, options.width = width;
    const Image image = render_pedestrian(0, 0, 0, options);
    EXPECT_EQ(image.height, height);
    EXPECT_EQ(image.width, width);
  }
}

TEST(Pedestrians, CamerasCastColours) {
  // The warm street and the cold hall must differ more than two persons in one of them.
  const PedestrianSetOptions options;
  const auto warmth = [&](int camera) {
    double sum = 0;
    for (int id = 0; id < 6; ++id) {
      const auto mean = mean_color(render_pedestrian(id, camera, 0, options));
      sum += mean[0] - mean[2];
    }
    return sum / 6;
  };
  EXPECT_GT(warmth(0), warmth(2) + 25);
}

TEST(Pedestrians, IdentitiesAreDistinctAndShareColours) {
  const auto people = pedestrian::make_people(150, 7);
  ASSERT_EQ(people.size(), 150u);
  std::map<int, int> tops;
  for (size_t i = 0; i < people.size(); ++i) {
    ++tops[people[i].top_index];
    for (size_t j = 0; j < i; ++j) {
      const auto &a = people[i], &b = people[j];
      const int differ = (a.top_index != b.top_index) + (a.bottom_index != b.bottom_index) +
                         (a.pattern != b.pattern) + (a.bottom != b.bottom) + (a.hair != b.hair) +
                         (a.bag != b.bag);
      EXPECT_GE(differ, 3) << i << " and " << j;
    }
  }
  for (const auto& [color, count] : tops) EXPECT_GE(count, 5) << "top " << color;
  // Asking for fewer gives the same first ones.
  const auto fewer = pedestrian::make_people(10, 7);
  EXPECT_EQ(fewer[9].top_index, people[9].top_index);
  EXPECT_EQ(fewer[9].height, people[9].height);
}

TEST(PedestrianItems, SplitsAreDisjointAndComplete) {
  PedestrianSetOptions options;
  options.train_identities = 5, options.test_identities = 3, options.cameras = 2, options.views = 4;
  const auto items = pedestrian_items(options);
  EXPECT_EQ(items.size(), static_cast<size_t>(8 * 2 * 4));
  std::map<PedestrianSplit, int> counts;
  std::set<int> train, test;
  std::set<std::string> names;
  for (const auto& item : items) {
    ++counts[item.split];
    (item.split == PedestrianSplit::kTrain ? train : test).insert(item.identity);
    EXPECT_TRUE(names.insert(item.name).second) << item.name;
    EXPECT_EQ(item.split == PedestrianSplit::kQuery, item.identity >= 5 && item.view == 0);
  }
  EXPECT_EQ(counts[PedestrianSplit::kTrain], 40);
  EXPECT_EQ(counts[PedestrianSplit::kQuery], 6);
  EXPECT_EQ(counts[PedestrianSplit::kGallery], 18);
  EXPECT_EQ(*train.rbegin(), 4);
  EXPECT_EQ(*test.begin(), 5);
  EXPECT_EQ(items.front().name, "0001_c1s1_000001_00.jpg");
  EXPECT_EQ(items.back().name, "0008_c2s1_000004_00.jpg");
}

TEST(PedestrianItems, DefaultsAreLargeEnoughForTheDemo) {
  const PedestrianSetOptions options;
  EXPECT_GE(options.test_identities, 40);
  EXPECT_GE(options.train_identities, 40);
  EXPECT_EQ(options.cameras, 4);
  EXPECT_EQ(options.views, 4);
}

TEST(PedestrianItems, Errors) {
  const auto items = [](int train, int test, int cameras, int views) {
    PedestrianSetOptions o;
    o.train_identities = train, o.test_identities = test, o.cameras = cameras, o.views = views;
    return pedestrian_items(o);
  };
  EXPECT_THROW(items(0, 1, 2, 2), ValueError);
  EXPECT_THROW(items(1, 0, 2, 2), ValueError);
  EXPECT_THROW(items(1, 1, 10, 2), ValueError);
  EXPECT_THROW(items(1, 1, 2, 1), ValueError);
  EXPECT_THROW(items(9999, 1, 2, 2), ValueError);
  PedestrianSetOptions options;
  EXPECT_THROW(render_pedestrian(-1, 0, 0, options), ValueError);
  EXPECT_THROW(render_pedestrian(0, 9, 0, options), ValueError);
  options.width = 8;
  EXPECT_THROW(render_pedestrian(0, 0, 0, options), ValueError);
}

TEST(WriteMarket1501, MakesFoldersAndReportsProgress) {
  const auto folder = std::filesystem::temp_directory_path() / "tessera_pedestrians_test";
  std::filesystem::remove_all(folder);
  PedestrianSetOptions options;
  options.train_identities = 1, options.test_identities = 1, options.cameras = 2, options.views = 2;
  options.height = 32, options.width = 16;
  std::vector<std::string> written;
  std::vector<int64_t> steps;
  write_market1501(
      folder, options,
      [&](const std::filesystem::path& path, const Image& image) {
        EXPECT_TRUE(std::filesystem::is_directory(path.parent_path()));
        EXPECT_EQ(image.height, 32);
        written.push_back(std::filesystem::relative(path, folder).generic_string());
      },
      [&](int64_t done, int64_t total) {
        EXPECT_EQ(total, 8);
        steps.push_back(done);
      });
  EXPECT_EQ(written.size(), 8u);
  EXPECT_EQ(written[0], "bounding_box_train/0001_c1s1_000001_00.jpg");
  EXPECT_EQ(written[4], "query/0002_c1s1_000001_00.jpg");
  EXPECT_EQ(written[7], "bounding_box_test/0002_c2s1_000002_00.jpg");
  EXPECT_EQ(steps, (std::vector<int64_t>{1, 2, 3, 4, 5, 6, 7, 8}));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace tessera::data

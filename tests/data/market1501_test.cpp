#include "data/market1501.h"

#include <fstream>

#include "tests/data/test_images.h"

namespace tessera::data {
namespace {

namespace fs = std::filesystem;

TEST(ReidName, ParsesTheKnownPatterns) {
  struct Case {
    const char* name;
    const char* text;
    int64_t identity, camera;
  };
  for (const Case& c :
       {Case{"0002_c1s1_000451_03.jpg", "0002", 2, 1}, Case{"-1_c6s4_012345_00.jpg", "-1", -1, 6},
        Case{"0000_c3s2_000001_01.jpg", "0000", 0, 3}, Case{"0005_c2_f0046985.jpg", "0005", 5, 2},
        Case{"0002_c002_00030600_0.jpg", "0002", 2, 2},
        Case{"0776_c020_c1s1_0.png", "0776", 776, 20}}) {
    const ReidName name = parse_reid_name(c.name);
    EXPECT_EQ(name.identity_text, c.text);
    EXPECT_EQ(name.identity, c.identity) << c.name;
    EXPECT_EQ(name.camera, c.camera) << c.name;
  }
}

TEST(ReidName, RejectsEverythingElseByName) {
  for (const char* name :
       {"", "0002.jpg", "0002_1s1_000451.jpg", "abc_c1s1_000451_03.jpg", "-2_c1s1_000451_03.jpg",
        "0002_cs1_000451.jpg", "0002_c1s_000451.jpg", "0002_c1s1", "0002_c1s1_", "0002c1s1_0.jpg",
        "_c1s1_000451_03.jpg", "0002_c1x_0.jpg", "9999999999_c1s1_0.jpg", " 0002_c1s1_0.jpg"})
    expect_throw<IoError>([&] { parse_reid_name(name, "dir/file"); },
                          {"dir/file", "<identity>_c<camera>"});
  expect_throw<IoError>([] { parse_reid_name("odd.jpg"); }, {"odd.jpg"});
}

class Market1501Test : public testing::Test {
 protected:
  void add(const char* part, const char* name) {
    fs::create_directories(folder_.path() / part);
    std::ofstream(folder_.path() / part / name) << "x";
  }
  void fill() {
    for (const char* name : {"0007_c2s1_000002_00.jpg", "0002_c1s1_000001_00.jpg",
                             "0007_c1s1_000001_00.jpg", "0030_c1s1_000001_00.jpg",
                             "-1_c1s1_000009_00.jpg", "Thumbs.db", ".0099_c1s1_000001_00.jpg"})
      add("bounding_box_train", name);
    add("query", "0005_c1s1_000001_00.jpg");
    for (const char* name :
         {"0005_c2s1_000001_00.jpg", "-1_c2s1_000001_00.jpg", "0000_c2s1_000001_00.jpg"})
      add("bounding_box_test", name);
  }
  TemporaryFolder folder_;
};

TEST_F(Market1501Test, ListsAndLabels) {
  fill();
  const Market1501 set = load_market1501(folder_.path());
  EXPECT_EQ(set.train_identities, 3);
  std::vector<int64_t> labels, identities, cameras;
  for (const ReidImage& image : set.train) {
    labels.push_back(image.label);
    identities.push_back(image.identity);
    cameras.push_back(image.camera);
  }
  EXPECT_EQ(identities, (std::vector<int64_t>{2, 7, 7, 30}));
  EXPECT_EQ(labels, (std::vector<int64_t>{0, 1, 1, 2}));
  EXPECT_EQ(cameras, (std::vector<int64_t>{1, 1, 2, 1}));
  EXPECT_EQ(set.query.size(), 1u);
  ASSERT_EQ(set.gallery.size(), 3u);
  EXPECT_EQ(set.gallery[0].identity, -1);
  EXPECT_EQ(set.gallery[1].identity, 0);
  EXPECT_EQ(set.gallery[2].identity, 5);
  EXPECT_EQ(set.gallery[2].label, -1);
  EXPECT_EQ(set.train_items()[3].label, 2);
  EXPECT_EQ(set.train_items()[3].path.filename(), "0030_c1s1_000001_00.jpg");
}

TEST_F(Market1501Test, ErrorsNameFolderOrFile) {
  expect_throw<IoError>([&] { load_market1501(folder_.path()); },
                        {(folder_.path() / "bounding_box_train").string(), "no such folder"});
  fill();
  fs::remove_all(folder_.path() / "query");
  fs::create_directories(folder_.path() / "query");
  expect_throw<IoError>([&] { load_market1501(folder_.path()); },
                        {(folder_.path() / "query").string(), "no image"});
  add("query", "portrait.jpg");
  expect_throw<IoError>([&] { load_market1501(folder_.path()); },
                        {(folder_.path() / "query" / "portrait.jpg").string(), "does not match"});
}

}  // namespace
}  // namespace tessera::data

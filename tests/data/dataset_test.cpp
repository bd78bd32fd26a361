#include "data/dataset.h"

#include <fstream>
#include <set>

#include "tests/data/test_images.h"

namespace tessera::data {
namespace {

namespace fs = std::filesystem;

void touch(const fs::path& path) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << "x";
}

TEST(ImageFolder, OrdersClassesAndFilesByName) {
  const TemporaryFolder folder;
  const fs::path root = folder.path();
  for (const char* name : {"b/2.jpg", "b/10.JPG", "a10/x.png", "a2/y.Jpeg", "a2/.hidden.jpg",
                           "a2/notes.txt", ".git/z.jpg", "stray.jpg"})
    touch(root / name);
  const ImageFolder found = scan_image_folder(root);
  EXPECT_EQ(found.classes, (std::vector<std::string>{"a10", "a2", "b"}));
  std::vector<std::string> names;
  std::vector<int64_t> labels;
  for (const ImageItem& item : found.items) {
    names.push_back(item.path.filename().string());
    labels.push_back(item.label);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"x.png", "y.Jpeg", "10.JPG", "2.jpg"}));
  EXPECT_EQ(labels, (std::vector<int64_t>{0, 1, 2, 2}));
}

TEST(ImageFolder, ErrorsNameTheFolder) {
  const TemporaryFolder folder;
  const fs::path root = folder.path();
  const fs::path absent = root / "absent";
  expect_throw<IoError>([&] { scan_image_folder(absent); }, {absent.string(), "no such folder"});
  expect_throw<IoError>([&] { scan_image_folder(root); }, {root.string(), "no class folders"});
  touch(root / "file.jpg");
  expect_throw<IoError>([&] { scan_image_folder(root / "file.jpg"); }, {"not a folder"});
  touch(root / "cat" / "1.jpg");
  fs::create_directories(root / "dog");
  expect_throw<IoError>([&] { scan_image_folder(root); }, {(root / "dog").string()});
}

TEST(ImageFolder, KnowsImageNames) {
  for (const char* name : {"a.jpg", "a.JPEG", "a.png", "a.ppm", "a.bmp", "a.pgm", "a.TIF", "a.tiff",
                           "a.webp", "x/y.z.jpg"})
    EXPECT_TRUE(is_image_name(name)) << name;
  for (const char* name : {"a.txt", "a", "jpg", ".a.jpg", "a.jpg.part", "Thumbs.db", ".jpg"})
    EXPECT_FALSE(is_image_name(name)) << name;
}

class ImageDatasetTest : public testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 6; ++i) {
      const fs::path path = folder_.path() / cat(i, ".png");
      write_png(path, formula_image(20 + i, 12, 3));
      items_.push_back({path, i * 10});
    }
    pipeline_.transforms = {resize_to(16, 8), random_crop_to(16, 8, 2), random_flip()};
  }

  TemporaryFolder folder_;
  std::vector<ImageItem> items_;
  Pipeline pipeline_;
};

TEST_F(ImageDatasetTest, DecodesAndTransforms) {
  const ImageDataset dataset(items_, pipeline_);
  EXPECT_EQ(dataset.size(), 6);
  const Generator generator = Generator(1).fork(2);
  const Sample sample = dataset.get(3, generator);
  EXPECT_EQ(sample.label, 30);
  EXPECT_EQ(sample.image.pixels, pipeline_(formula_image(23, 12, 3), generator).pixels);
  EXPECT_EQ(dataset.describe(3), items_[3].path.string());
  expect_throw<ValueError>([&] { dataset.get(6, generator); }, {"6"});
  fs::remove(items_[3].path);
  expect_throw<IoError>([&] { dataset.get(3, generator); }, {items_[3].path.string()});
}

TEST_F(ImageDatasetTest, TheCacheChangesNothingButTheReading) {
  const ImageDataset plain(items_, pipeline_);
  const int64_t one = 16 * 8 * 3;  // the resized image: what comes before the first random step
  const ImageDataset cached(items_, pipeline_, {.cache_bytes = 4 * one + 1});
  for (int epoch = 0; epoch < 3; ++epoch)
    for (int64_t i = 0; i < 6; ++i) {
      const Generator generator = Generator(7).fork(static_cast<uint64_t>(10 * epoch + i));
      EXPECT_EQ(cached.get(i, generator).image.pixels, plain.get(i, generator).image.pixels);
    }
  EXPECT_EQ(cached.cached_bytes(), 4 * one);  // the first four that asked
  EXPECT_EQ(plain.cached_bytes(), 0);
  fs::remove(items_[0].path);
  fs::remove(items_[5].path);
  EXPECT_NO_THROW(cached.get(0, Generator(1)));
  expect_throw<IoError>([&] { cached.get(5, Generator(1)); }, {items_[5].path.string()});
}

TEST(MemoryDataset, GivesImagesAndChecksCounts) {
  Pipeline pipeline;
  pipeline.normalization = {{0.5f, 0, 0}, {0.5f, 0, 0}};
  const MemoryDataset dataset({Image(2, 2, 1, 0), Image(2, 2, 1, 255)}, {4, 5}, pipeline, "toy");
  const Sample sample = dataset.get(1, Generator(1));
  EXPECT_EQ(sample.label, 5);
  EXPECT_EQ(sample.image.pixels, std::vector<float>(4, 1.0f));
  EXPECT_EQ(dataset.describe(1), "toy[1]");
  expect_throw<ValueError>(
      [&] {
        MemoryDataset({Image(2, 2)}, {1, 2}, pipeline, "toy");
      },
      {"toy", "1 images", "2 labels"});
}

}  // namespace
}  // namespace tessera::data

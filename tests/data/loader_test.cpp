#include "data/loader.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "tensor/parallel.h"
#include "tests/data/test_images.h"

namespace tessera::data {
namespace {

/// Sample i is one pixel (i, a random number) with label 1000 + i. Loading takes a varying time, so
/// that workers overtake each other.
class ToyDataset : public Dataset {
 public:
  explicit ToyDataset(int64_t size, bool slow = true) : size_(size), slow_(slow) {}
  int64_t size() const override { return size_; }
  std::string describe(int64_t index) const override { return cat("toy/", index, ".jpg"); }
  Sample get(int64_t index, const Generator& generator) const override {
    ++calls;
    Generator own = generator;
    if (slow_) std::this_thread::sleep_for(std::chrono::microseconds((index * 7919) % 700));
    if (bad.contains(index)) throw IoError("checksum is wrong");
    if (broken.contains(index)) throw ValueError("negative size");
    const int64_t width = index == wide ? 2 : 1;
    FloatImage image{1, width, 2, std::vector<float>(static_cast<size_t>(2 * width))};
    image.pixels[0] = static_cast<float>(index);
    image.pixels[1] = static_cast<float>(own.uniform());
    if (std::this_thread::get_id() != main_thread && !in_parallel_region()) parallel_worker = true;
    return {image, 1000 + index};
  }

  std::set<int64_t> bad, broken;
  int64_t wide = -1;
  std::thread::id main_thread = std::this_thread::get_id();
  mutable std::atomic<int64_t> calls{0};
  mutable std::atomic<bool> parallel_worker{false};

 private:
  int64_t size_;
  bool slow_;
};

struct Seen {
  int64_t epoch, number;
  std::vector<int64_t> indices, labels;
  std::vector<float> pixels;
  bool operator==(const Seen&) const = default;
};

std::vector<Seen> run_epoch(Loader& loader, int64_t epoch, int64_t first = 0) {
  loader.start_epoch(epoch, first);
  std::vector<Seen> all;
  while (const std::optional<Batch> batch = loader.next()) {
    EXPECT_EQ(batch->images.shape(), (Shape{batch->size(), 1, 1, 2}));
    EXPECT_EQ(batch->labels.shape(), (Shape{batch->size()}));
    all.push_back({batch->epoch, batch->number, batch->indices, batch->labels.to_vector<int64_t>(),
                   batch->images.to_vector<float>()});
  }
  return all;
}

std::vector<int64_t> all_indices(const std::vector<Seen>& batches) {
  std::vector<int64_t> indices;
  for (const Seen& b : batches) indices.insert(indices.end(), b.indices.begin(), b.indices.end());
  return indices;
}

TEST(Loader, SequentialOrderAndContents) {
  const auto dataset = std::make_shared<ToyDataset>(10);
  Loader loader(dataset, {.batch_size = 4, .workers = 2});
  EXPECT_EQ(loader.batches_per_epoch(), 3);
  EXPECT_FALSE(loader.next().has_value());  // not started
  const std::vector<Seen> batches = run_epoch(loader, 0);
  ASSERT_EQ(batches.size(), 3u);
  EXPECT_EQ(batches[1].indices, (std::vector<int64_t>{4, 5, 6, 7}));
  EXPECT_EQ(batches[2].labels, (std::vector<int64_t>{1008, 1009}));
  EXPECT_EQ(batches[2].pixels[2], 9.0f);
  EXPECT_EQ(batches[2].number, 2);
  EXPECT_FALSE(loader.next().has_value());  // the end stays the end
  EXPECT_FALSE(dataset->parallel_worker);   // nested parallel_for would oversubscribe
}

TEST(Loader, TheSameBatchesForAnyNumberOfWorkers) {
  std::vector<std::vector<Seen>> runs;
  for (const int workers : {0, 1, 2, 4})
    for (const int prefetch : {1, 3}) {
      Loader loader(
          std::make_shared<ToyDataset>(50),
          {.batch_size = 8, .workers = workers, .prefetch = prefetch, .shuffle = true, .seed = 5});
      std::vector<Seen> both = run_epoch(loader, 0);
      const std::vector<Seen> second = run_epoch(loader, 1);
      EXPECT_NE(both[0].indices, second[0].indices);
      both.insert(both.end(), second.begin(), second.end());
      runs.push_back(std::move(both));
    }
  for (const auto& run : runs) EXPECT_EQ(run, runs[0]);
  // Each epoch holds every sample once, and its augmentation is new.
  std::vector<int64_t> sorted = all_indices({runs[0].begin(), runs[0].begin() + 7});
  EXPECT_FALSE(std::is_sorted(sorted.begin(), sorted.end()));
  std::sort(sorted.begin(), sorted.end());
  std::vector<int64_t> expected(50);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(sorted, expected);
  std::set<float> numbers;
  for (const Seen& batch : runs[0])
    for (size_t i = 1; i < batch.pixels.size(); i += 2) numbers.insert(batch.pixels[i]);
  EXPECT_GT(numbers.size(), 98u);  // 100 draws; one collision of floats would be bad luck
}

TEST(Loader, ASampleKeepsItsAugmentationWhateverTheOrder) {
  // Sample i of an epoch draws the same number with and without shuffling, in any batch size.
  Loader a(std::make_shared<ToyDataset>(20), {.batch_size = 3, .shuffle = true, .seed = 9});
  Loader b(std::make_shared<ToyDataset>(20), {.batch_size = 20, .workers = 0, .seed = 9});
  std::map<int64_t, float> drawn;
  for (const Seen& batch : run_epoch(a, 4))
    for (size_t i = 0; i < batch.indices.size(); ++i)
      drawn[batch.indices[i]] = batch.pixels[2 * i + 1];
  const Seen whole = run_epoch(b, 4).at(0);
  for (size_t i = 0; i < 20; ++i)
    EXPECT_EQ(drawn.at(static_cast<int64_t>(i)), whole.pixels[2 * i + 1]);
}

TEST(Loader, ResumesInTheMiddleOfAnEpoch) {
  const LoaderOptions options = {.batch_size = 4, .workers = 2, .shuffle = true, .seed = 3};
  Loader loader(std::make_shared<ToyDataset>(30), options);
  const std::vector<Seen> whole = run_epoch(loader, 2);
  for (const int64_t first : {0, 3, 7, 8}) {
    Loader fresh(std::make_shared<ToyDataset>(30), options);
    EXPECT_EQ(run_epoch(fresh, 2, first), (std::vector<Seen>{whole.begin() + first, whole.end()}));
  }
  expect_throw<ValueError>([&] { loader.start_epoch(0, 9); }, {"batch 9 of 8"});
  expect_throw<ValueError>([&] { loader.start_epoch(-1); }, {"epoch -1"});
}

TEST(Loader, DropsTheLastBatch) {
  Loader loader(std::make_shared<ToyDataset>(10), {.batch_size = 4, .drop_last = true});
  EXPECT_EQ(loader.batches_per_epoch(), 2);
  EXPECT_EQ(run_epoch(loader, 0).size(), 2u);
}

TEST(Loader, BatchAndPrefetchBeyondTheSet) {
  for (const int workers : {0, 2}) {
    Loader loader(std::make_shared<ToyDataset>(5),
                  {.batch_size = std::numeric_limits<int64_t>::max(),
                   .workers = workers,
                   .prefetch = std::numeric_limits<int>::max()});
    EXPECT_EQ(loader.batches_per_epoch(), 1);
    const std::vector<Seen> batches = run_epoch(loader, 0);
    ASSERT_EQ(batches.size(), 1u);
    EXPECT_EQ(batches[0].indices, (std::vector<int64_t>{0, 1, 2, 3, 4}));
  }
}

TEST(Loader, AbandonedEpochsAndEarlyDestruction) {
  const auto dataset = std::make_shared<ToyDataset>(400);
  for (int round = 0; round < 10; ++round) {
    Loader loader(dataset, {.batch_size = 8, .workers = 3, .prefetch = 4, .shuffle = true});
    if (round == 0) continue;  // destroyed before any epoch
    loader.start_epoch(0);
    for (int i = 0; i < round - 1; ++i) ASSERT_TRUE(loader.next().has_value());
    loader.start_epoch(round);
    const std::optional<Batch> batch = loader.next();
    ASSERT_TRUE(batch.has_value());
    EXPECT_EQ(batch->epoch, round);
    EXPECT_EQ(batch->number, 0);
  }
}

TEST(Loader, PrefetchIsBounded) {
  const auto dataset = std::make_shared<ToyDataset>(100, false);
  Loader loader(dataset, {.batch_size = 5, .workers = 2, .prefetch = 3});
  loader.start_epoch(0);
  const auto settled = [&] {
    int64_t calls = -1;
    while (calls != dataset->calls) {
      calls = dataset->calls;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return calls;
  };
  EXPECT_EQ(settled(), 15);
  ASSERT_TRUE(loader.next().has_value());
  EXPECT_EQ(settled(), 20);
}

TEST(Loader, ErrorsReachTheConsumerInOrderAndNameTheFile) {
  for (const int workers : {0, 1, 2, 4}) {
    const auto dataset = std::make_shared<ToyDataset>(40);
    dataset->bad = {21, 22, 33};
    Loader loader(dataset, {.batch_size = 4, .workers = workers, .prefetch = 8});
    loader.start_epoch(0);
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(loader.next().has_value());
    expect_throw<IoError>([&] { loader.next(); }, {"toy/21.jpg", "checksum is wrong"});
    EXPECT_FALSE(loader.next().has_value());        // the epoch is over
    EXPECT_EQ(run_epoch(loader, 1, 9).size(), 1u);  // another can be started
  }
}

TEST(Loader, SkipsCorruptFilesWithAReport) {
  std::vector<std::vector<Seen>> runs;
  for (const int workers : {0, 1, 4}) {
    const auto dataset = std::make_shared<ToyDataset>(14);
    dataset->bad = {1, 4, 5, 6, 7, 12, 13};  // the second and last batches hold nothing else
    Loader loader(dataset, {.batch_size = 4, .workers = workers, .on_corrupt = OnCorrupt::kSkip});
    runs.push_back(run_epoch(loader, 0));
    ASSERT_EQ(loader.skipped().size(), 7u);
    EXPECT_EQ(loader.skipped()[0].index, 1);
    EXPECT_EQ(loader.skipped()[6].index, 13);
    EXPECT_EQ(loader.skipped()[0].message, "toy/1.jpg: checksum is wrong");
    run_epoch(loader, 1, 3);
    EXPECT_EQ(loader.skipped().size(), 2u);  // counted per epoch
  }
  for (const auto& run : runs) EXPECT_EQ(run, runs[0]);
  EXPECT_EQ(all_indices(runs[0]), (std::vector<int64_t>{0, 2, 3, 8, 9, 10, 11}));
  ASSERT_EQ(runs[0].size(), 2u);
  EXPECT_EQ(runs[0][1].number, 2);
}

TEST(Loader, OtherErrorsAreFatalEvenWhenSkipping) {
  const auto dataset = std::make_shared<ToyDataset>(8);
  dataset->broken = {2};
  dataset->bad = {1};
  Loader loader(dataset, {.batch_size = 4, .on_corrupt = OnCorrupt::kSkip});
  loader.start_epoch(0);
  expect_throw<ValueError>([&] { loader.next(); }, {"toy/2.jpg: negative size"});
}

TEST(Loader, MixedSizesNameBothFiles) {
  const auto dataset = std::make_shared<ToyDataset>(8);
  dataset->wide = 5;
  Loader loader(dataset, {.batch_size = 8});
  loader.start_epoch(0);
  expect_throw<ShapeError>([&] { loader.next(); },
                           {"1 x 1 x 2 from toy/0.jpg", "1 x 2 x 2 from toy/5.jpg"});
}

TEST(Loader, SamplersChooseTheOrder) {
  const auto sampler = [](int64_t epoch, Generator generator) {
    std::vector<int64_t> order = {7, 7, 0, epoch, generator.randint(10), 3};
    return order;
  };
  Loader loader(std::make_shared<ToyDataset>(10), {.batch_size = 4, .sampler = sampler});
  EXPECT_EQ(loader.batches_per_epoch(), 2);
  const std::vector<Seen> batches = run_epoch(loader, 6);
  EXPECT_EQ(batches[0].indices, (std::vector<int64_t>{7, 7, 0, 6}));
  expect_throw<ValueError>([&] { loader.start_epoch(10); }, {"index 10", "10"});
  const auto growing = [](int64_t epoch, Generator) {
    return std::vector<int64_t>(static_cast<size_t>(4 + epoch), 0);
  };
  Loader uneven(std::make_shared<ToyDataset>(10), {.batch_size = 4, .sampler = growing});
  expect_throw<ValueError>([&] { uneven.start_epoch(1); }, {"5 indices", "epoch 1"});
}

TEST(Loader, RejectsBadOptions) {
  const auto make = [](int64_t size, const LoaderOptions& options) {
    Loader loader(std::make_shared<ToyDataset>(size), options);
  };
  expect_throw<ValueError>([&] { make(0, {}); }, {"empty"});
  expect_throw<ValueError>([&] { make(5, {.batch_size = 0}); }, {"batch_size 0"});
  expect_throw<ValueError>([&] { make(5, {.prefetch = 0}); }, {"prefetch 0"});
  expect_throw<ValueError>([&] { make(5, {.workers = -1}); }, {"workers -1"});
  expect_throw<ValueError>([&] { make(5, {.batch_size = 6, .drop_last = true}); },
                           {"batch_size 6", "5 samples"});
}

TEST(Loader, LoadsFilesWithACache) {
  const TemporaryFolder folder;
  std::vector<ImageItem> items;
  for (int64_t i = 0; i < 12; ++i) {
    items.push_back({folder.path() / cat(i, ".png"), i});
    write_png(items.back().path, formula_image(24, 12 + i, 3));
  }
  Pipeline pipeline;
  pipeline.transforms = {resize_to(16, 8), random_crop_to(16, 8, 2), random_flip()};
  pipeline.erasing = {{}};
  std::vector<std::vector<float>> runs;
  for (const int64_t cache : {int64_t{0}, int64_t{1} << 20}) {
    Loader loader(
        std::make_shared<ImageDataset>(items, pipeline, ImageDatasetOptions{.cache_bytes = cache}),
        {.batch_size = 5, .workers = 3, .shuffle = true});
    std::vector<float> pixels;
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
      loader.start_epoch(epoch);
      while (const std::optional<Batch> batch = loader.next()) {
        const std::vector<float> part = batch->images.to_vector<float>();
        pixels.insert(pixels.end(), part.begin(), part.end());
      }
    }
    runs.push_back(std::move(pixels));
  }
  EXPECT_EQ(runs[0].size(), 3u * 12 * 16 * 8 * 3);
  EXPECT_EQ(runs[0], runs[1]);
  // A file that breaks between epochs is reported by its path.
  std::ofstream(items[4].path) << "not an image";
  Loader loader(std::make_shared<ImageDataset>(items, pipeline), {.batch_size = 12});
  loader.start_epoch(0);
  expect_throw<IoError>([&] { loader.next(); }, {items[4].path.string(), "not a JPEG"});
}

}  // namespace
}  // namespace tessera::data

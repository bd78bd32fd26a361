#include "data/transform.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "tests/data/test_images.h"

namespace tessera::data {
namespace {

/// 1-channel image whose pixel (y, x) is 10 y + x.
Image numbered(int64_t height, int64_t width) {
  Image image(height, width, 1);
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x) *image.at(y, x) = static_cast<uint8_t>(10 * y + x);
  return image;
}

using Bytes = std::vector<uint8_t>;

TEST(Transform, CropTakesTheBox) {
  EXPECT_EQ(crop(numbered(4, 5), {1, 2, 2, 3}).pixels, (Bytes{12, 13, 14, 22, 23, 24}));
  expect_throw<ValueError>([] { crop(numbered(4, 5), {3, 0, 2, 2}); }, {"top 3", "4 x 5"});
  expect_throw<ValueError>([] { crop(numbered(4, 5), {-1, 0, 2, 2}); }, {"top -1"});
  expect_throw<ValueError>([] { crop(numbered(4, 5), {0, INT64_MAX, 1, 2}); }, {"4 x 5"});
}

TEST(Transform, CenterCropRoundsTiesToEven) {
  // A margin of 33 starts at 16, one of 35 at 18.
  EXPECT_EQ(*center_crop(numbered(1, 35), 1, 2).at(0, 0), 16);
  EXPECT_EQ(*center_crop(numbered(1, 37), 1, 2).at(0, 0), 18);
  EXPECT_EQ(center_crop(numbered(1, 2), 3, 3).pixels, (Bytes{0, 0, 0, 0, 1, 0, 0, 0, 0}));
}

TEST(Transform, PadModes) {
  const Image row = numbered(1, 3);  // 0 1 2
  EXPECT_EQ(pad(row, {0, 0, 2, 2}, PadMode::kConstant, 9).pixels, (Bytes{9, 9, 0, 1, 2, 9, 9}));
  EXPECT_EQ(pad(row, {0, 0, 2, 2}, PadMode::kEdge).pixels, (Bytes{0, 0, 0, 1, 2, 2, 2}));
  EXPECT_EQ(pad(row, {0, 0, 2, 2}, PadMode::kReflect).pixels, (Bytes{2, 1, 0, 1, 2, 1, 0}));
  const Image column = numbered(3, 1);  // 0 10 20
  EXPECT_EQ(pad(column, {1, 2, 0, 0}, PadMode::kReflect).pixels, (Bytes{10, 0, 10, 20, 10, 0}));
  EXPECT_EQ(pad(column, {1, 2, 0, 0}, PadMode::kEdge).pixels, (Bytes{0, 0, 10, 20, 20, 20}));
  EXPECT_EQ(pad(column, {1, 0, 0, 1}).pixels, (Bytes{0, 0, 0, 0, 10, 0, 20, 0}));
  expect_throw<ValueError>([&] { pad(row, {0, 0, 3, 0}, PadMode::kReflect); }, {"1 x 3"});
  expect_throw<ValueError>([&] { pad(row, {0, 0, -1, 0}); }, {"-1"});
}

TEST(Transform, FlipMirrorsPixelsNotChannels) {
  Image image(1, 2, 3);
  image.pixels = {1, 2, 3, 4, 5, 6};
  EXPECT_EQ(flip_horizontal(image).pixels, (Bytes{4, 5, 6, 1, 2, 3}));
}

TEST(Transform, ShortSideTruncatesTheLongOne) {
  const Image a = resize_short_side(Image(375, 500, 1), 256);
  EXPECT_EQ(a.height, 256);
  EXPECT_EQ(a.width, 341);
  const Image b = resize_short_side(Image(1000, 667, 1), 256);
  EXPECT_EQ(b.height, 383);
  EXPECT_EQ(b.width, 256);
  // A decoded file of a few bytes must not become gigabytes.
  expect_throw<ValueError>([] { resize_short_side(Image(1, 100000, 1), 256); },
                           {"1 x 100000", "short side of 256"});
  expect_throw<ValueError>([] { resize_short_side(Image(2, 2, 1), int64_t{1} << 62); }, {"2 x 2"});
  EXPECT_EQ(resize_short_side(Image(1, 1000, 1), 256).width, 256000);
}

struct ColorGolden {
  const char* op;
  int64_t height, width;
  double factor;
  uint64_t hash;
};

const ColorGolden kColor[] = {
#include "tests/data/golden/color_golden.inc"
};

TEST(Color, EqualsPillowBitForBit) {
  for (const ColorGolden& g : kColor) {
    const Image image = formula_image(g.height, g.width, 3);
    const std::string op = g.op;
    const float f = static_cast<float>(g.factor);
    const Image out = op == "grey"         ? to_grey(image)
                      : op == "brightness" ? adjust_brightness(image, f)
                      : op == "contrast"   ? adjust_contrast(image, f)
                      : op == "saturation" ? adjust_saturation(image, f)
                                           : adjust_hue(image, g.factor);
    EXPECT_EQ(fnv(out.pixels), g.hash) << op << " " << g.factor << ", " << g.height;
  }
}

TEST(Color, RejectsBadArguments) {
  expect_throw<ValueError>([] { adjust_brightness(Image(2, 2, 1), 1); }, {"2 x 2 x 1"});
  expect_throw<ValueError>([] { adjust_contrast(Image(2, 2), -0.5f); }, {"-0.5"});
  expect_throw<ValueError>([] { adjust_hue(Image(2, 2), 0.6); }, {"0.6"});
  Generator generator(1);
  expect_throw<ValueError>([&] { color_jitter(Image(2, 2), {.hue = 0.7}, generator); }, {"0.7"});
}

TEST(Color, JitterDrawsFromTheWholeRange) {
  // On a flat grey image only brightness changes anything: 100 * f, truncated, with f in
  // [0.5, 1.5].
  const Generator root(3);
  std::set<int> seen;
  for (uint64_t i = 0; i < 400; ++i) {
    Generator generator = root.fork(i);
    const Image out = color_jitter(
        Image(1, 1, 3, 100), {.brightness = 0.5, .contrast = 0.5, .saturation = 0.5}, generator);
    seen.insert(out.pixels[0]);
    ASSERT_GE(out.pixels[0], 50);
    ASSERT_LE(out.pixels[0], 150);
  }
  EXPECT_GT(seen.size(), 80u);
}

TEST(Normalize, RoundsLikeSeparateSteps) {
  Image image(1, 2, 3);
  image.pixels = {0, 128, 255, 3, 77, 200};
  const FloatImage out = normalize(image);
  const Normalization n;
  for (size_t i = 0; i < 6; ++i) {
    volatile float v = static_cast<float>(image.pixels[i]) / 255.0f;
    v = v - n.mean[i % 3];
    v = v / n.std[i % 3];
    EXPECT_EQ(out.pixels[i], v);
  }
  EXPECT_NEAR(out.pixels[0], -2.1179f, 1e-4);  // black padding, as the re-id baseline sees it
  const FloatImage grey = normalize(Image(2, 3, 1, 255), {{0.5f, 0, 0}, {0.5f, 0, 0}});
  EXPECT_EQ(grey.pixels, std::vector<float>(6, 1.0f));
  expect_throw<ValueError>([] { normalize(Image(2, 2), {{0, 0, 0}, {1, 0, 1}}); }, {"channel 1"});
}

TEST(RandomErasing, StatisticsOfTheReidBaseline) {
  // 100,000 draws at 256 x 128: no failure, 1.059 tries and a fifth of the area on average.
  const RandomErasingOptions options{.probability = 1};
  const int draws = 100000;
  double tries = 0, area = 0;
  Generator generator(11);
  for (int i = 0; i < draws; ++i) {
    int n = 0;
    const Box box = random_erasing_box(256, 128, options, generator, &n);
    ASSERT_GT(box.height, 0);
    ASSERT_LT(box.height, 256);
    ASSERT_LT(box.width, 128);
    ASSERT_GE(box.top, 0);
    ASSERT_GE(box.left, 0);
    ASSERT_LE(box.top + box.height, 256);
    ASSERT_LE(box.left + box.width, 128);
    tries += n;
    area += static_cast<double>(box.height * box.width) / (256 * 128);
  }
  EXPECT_NEAR(tries / draws, 1.059, 0.004);   // standard error 0.0008
  EXPECT_NEAR(area / draws, 0.2036, 0.0015);  // standard error 0.0003
}

TEST(RandomErasing, ReachesBothBordersAndKeepsTheRest) {
  const RandomErasingOptions options{.probability = 1, .value = 5};
  Generator generator(4);
  bool first_row = false, last_row = false, first_column = false, last_column = false;
  for (int i = 0; i < 2000; ++i) {
    FloatImage image{12, 8, 1, std::vector<float>(96, 1.0f)};
    random_erasing(image, options, generator);
    const auto erased = [&](size_t k) { return image.pixels[k] == 5; };
    size_t count = 0;
    for (size_t k = 0; k < 96; ++k) {
      ASSERT_TRUE(erased(k) || image.pixels[k] == 1);
      if (!erased(k)) continue;
      ++count;
      first_row |= k < 8, last_row |= k >= 88;
      first_column |= k % 8 == 0, last_column |= k % 8 == 7;
    }
    ASSERT_GT(count, 0u);
    ASSERT_LT(count, 88u);
  }
  EXPECT_TRUE(first_row && last_row && first_column && last_column);
}

TEST(RandomErasing, ProbabilityNoiseAndErrors) {
  Generator generator(5);
  int hits = 0;
  for (int i = 0; i < 10000; ++i)
    hits += random_erasing_box(64, 64, {.probability = 0.3}, generator).height > 0;
  EXPECT_NEAR(hits / 10000.0, 0.3, 0.02);
  FloatImage image{64, 64, 3, std::vector<float>(64 * 64 * 3, 7.0f)};
  random_erasing(image, {.probability = 1, .min_area = 0.2, .noise = true}, generator);
  double sum = 0, squares = 0, n = 0;
  for (const float v : image.pixels)
    if (v != 7.0f) sum += v, squares += v * v, ++n;
  EXPECT_GT(n, 64 * 64 * 3 * 0.15);
  EXPECT_NEAR(sum / n, 0, 0.15);
  EXPECT_NEAR(squares / n, 1, 0.15);
  expect_throw<ValueError>(
      [&] { random_erasing_box(8, 8, {.min_area = 0.5, .max_area = 0.4}, generator); }, {"0.5"});
}

TEST(RandomResizedCrop, StaysInsideWithTheAskedAreasAndRatios) {
  Generator generator(6);
  double area = 0;
  for (int i = 0; i < 20000; ++i) {
    const Box box = random_resized_box(300, 400, {}, generator);
    ASSERT_GE(box.top, 0);
    ASSERT_GE(box.left, 0);
    ASSERT_LE(box.top + box.height, 300);
    ASSERT_LE(box.left + box.width, 400);
    const double ratio = static_cast<double>(box.width) / static_cast<double>(box.height);
    ASSERT_GT(ratio, 0.75 * 0.97);
    ASSERT_LT(ratio, 4.0 / 3 * 1.03);
    area += static_cast<double>(box.height * box.width) / (300 * 400);
  }
  // The uniform mean is 0.54; large boxes are rejected more often. Standard error 0.0016.
  EXPECT_NEAR(area / 20000, 0.4331, 0.006);
  // No box of the asked ratios fits: the central one with the nearest ratio.
  const Box tall = random_resized_box(400, 10, {}, generator);
  EXPECT_EQ(tall, (Box{193, 0, 13, 10}));
  const Box wide = random_resized_box(10, 400, {}, generator);
  EXPECT_EQ(wide, (Box{0, 193, 10, 13}));
}

Pipeline training_pipeline() {
  Pipeline p;
  p.transforms = {resize_to(32, 16, Filter::kBicubic), jitter_color({0.1, 0.1, 0.1}),
                  random_crop_to(32, 16, 4), random_flip()};
  p.erasing = {{.probability = 0.5}};
  return p;
}

TEST(Pipeline, DependsOnTheGeneratorAlone) {
  const Pipeline p = training_pipeline();
  EXPECT_EQ(p.fixed_prefix(), 1u);
  const Image image = formula_image(40, 20, 3);
  std::set<std::vector<float>> different;
  for (uint64_t i = 0; i < 8; ++i) {
    const Generator g = Generator(1).fork(i);
    const FloatImage a = p(image, g);
    EXPECT_EQ(a.height, 32);
    EXPECT_EQ(a.width, 16);
    EXPECT_EQ(a.pixels, p(image, g).pixels);
    // In two parts, as a cache does it.
    const Image prefix = p.run(image, g, 0, p.fixed_prefix());
    EXPECT_EQ(a.pixels, p.finish(p.run(prefix, g, 1, 4), g).pixels);
    different.insert(a.pixels);
  }
  EXPECT_EQ(different.size(), 8u);
}

TEST(Pipeline, AStepDoesNotDisturbTheOthers) {
  // The crop offset is drawn from the crop's own stream, whatever the jitter before it drew.
  Pipeline with = training_pipeline(), without = training_pipeline();
  with.erasing.clear();
  without.erasing.clear();
  without.transforms[1] = {"nothing", true, [](Image image, Generator&) { return image; }};
  const Image image(40, 20, 3, 255);
  for (uint64_t i = 0; i < 20; ++i) {
    const FloatImage a = with(image, Generator(2).fork(i)),
                     b = without(image, Generator(2).fork(i));
    for (size_t k = 0; k < a.pixels.size(); ++k) {
      const bool border = b.pixels[k] < 0;  // black padding; the image is white
      ASSERT_EQ(a.pixels[k] < 0, border);
    }
  }
}

TEST(RandomCrop, OffsetsCoverTheWholeRange) {
  const Transform crop_step = random_crop_to(1, 4, 2, PadMode::kConstant, 99);
  Image row(1, 4, 1);
  row.pixels = {1, 2, 3, 4};
  std::set<Bytes> seen;
  Generator generator(8);
  for (int i = 0; i < 500; ++i) seen.insert(crop_step.apply(row, generator).pixels);
  EXPECT_EQ(seen.size(), 6u);  // five offsets on the image's row, or one of the padding rows
  Generator again(8);
  expect_throw<ValueError>([&] { random_crop_to(8, 8).apply(Image(4, 9, 1), again); },
                           {"4 x 9", "8 x 8"});
}

TEST(RandomFlip, HasItsProbability) {
  Image row(1, 2, 1);
  row.pixels = {1, 2};
  int flips = 0;
  Generator generator(9);
  const Transform flip = random_flip(0.25);
  for (int i = 0; i < 10000; ++i) flips += flip.apply(row, generator).pixels[0] == 2;
  EXPECT_NEAR(flips / 10000.0, 0.25, 0.02);
}

}  // namespace
}  // namespace tessera::data

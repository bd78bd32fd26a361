#include "data/resize.h"

#include "tests/data/test_images.h"

namespace tessera::data {
namespace {

struct Golden {
  const char* filter;
  int64_t channels, in_h, in_w, out_h, out_w;
  uint64_t hash;
};

const Golden kGolden[] = {
#include "tests/data/golden/resize_golden.inc"
};

TEST(Resize, EqualsPillowBitForBit) {
  for (const Golden& g : kGolden) {
    const Image out = resize(formula_image(g.in_h, g.in_w, g.channels), g.out_h, g.out_w,
                             filter_by_name(g.filter));
    ASSERT_EQ(out.height, g.out_h);
    ASSERT_EQ(out.width, g.out_w);
    EXPECT_EQ(fnv(out.pixels), g.hash) << g.filter << " " << g.channels << " channels, " << g.in_h
                                       << " x " << g.in_w << " to " << g.out_h << " x " << g.out_w;
  }
}

TEST(Resize, BicubicOfASmallTable) {
  Image image(3, 4, 1);
  for (int64_t y = 0; y < 3; ++y)
    for (int64_t x = 0; x < 4; ++x)
      *image.at(y, x) = static_cast<uint8_t>(37 * y + 61 * x + 13 * x * y);
  const std::vector<uint8_t> up = {0,   22,  67,  106, 163, 201, 10,  38,  88,  136,
                                   132, 118, 32,  67,  126, 187, 93,  0,   57,  97,
                                   162, 230, 136, 36,  71,  113, 182, 253, 169, 73};
  EXPECT_EQ(resize(image, 5, 6, Filter::kBicubic).pixels, up);
  EXPECT_EQ(resize(image, 2, 2, Filter::kBicubic).pixels,
            (std::vector<uint8_t>{53, 127, 121, 141}));
}

TEST(Resize, NearestAccumulatesThePosition) {
  Image image(1, 256, 1);
  for (int64_t x = 0; x < 256; ++x) *image.at(0, x) = static_cast<uint8_t>(x);
  EXPECT_EQ(*resize(image, 1, 224, Filter::kNearest).at(0, 3), 3);  // the closed form says 4
}

TEST(Resize, SameSizeIsACopyAndFlatStaysFlat) {
  const Image image = formula_image(9, 11, 3);
  EXPECT_EQ(resize(image, 9, 11, Filter::kLanczos), image);
  for (const Filter f : {Filter::kBox, Filter::kBilinear, Filter::kBicubic, Filter::kLanczos})
    EXPECT_EQ(resize(Image(13, 50, 3, 201), 40, 7, f), Image(40, 7, 3, 201));
}

TEST(Resize, RejectsBadArguments) {
  expect_throw<ValueError>([] { resize(Image(2, 2), 0, 5, Filter::kBox); }, {"0 x 5"});
  expect_throw<ValueError>([] { resize(Image(), 2, 2, Filter::kBox); }, {"0 x 0"});
  Image wrong(4, 4);
  wrong.pixels.pop_back();
  expect_throw<ValueError>([&] { resize(wrong, 2, 2, Filter::kBox); }, {"47 bytes"});
  expect_throw<ValueError>([] { filter_by_name("cubic"); }, {"'cubic'", "bicubic"});
}

}  // namespace
}  // namespace tessera::data

#include "data/codec.h"

#include <algorithm>
#include <cstdlib>
#include <map>

#include "io/atomic_file.h"
#include "tests/data/test_images.h"

namespace tessera::data {
namespace {

struct Golden {
  const char* name;
  int64_t height, width;
  uint64_t hash;
  std::string_view bytes;
};

const Golden kGolden[] = {
#include "tests/data/golden/codec_golden.inc"
};

std::vector<uint8_t> golden_bytes(const std::string& name) {
  for (const Golden& g : kGolden)
    if (name == g.name) return {g.bytes.begin(), g.bytes.end()};
  throw ValueError(name);
}

Image decode(const std::vector<uint8_t>& bytes, const DecodeOptions& options = {}) {
  return decode_image(bytes, "test.img", options);
}

class CodecGolden : public testing::TestWithParam<Golden> {};

TEST_P(CodecGolden, EqualsPillow) {
  const Golden& g = GetParam();
  const Image image = decode_image(as_bytes(g.bytes), g.name);
  EXPECT_EQ(image.height, g.height);
  EXPECT_EQ(image.width, g.width);
  EXPECT_EQ(image.channels, 3);
  EXPECT_EQ(fnv(image.pixels), g.hash);
}

TEST_P(CodecGolden, EveryPrefixIsAnErrorThatNamesTheFile) {
  const Golden& g = GetParam();
  for (size_t n = 0; n < g.bytes.size(); ++n) {
    // A copy of its own, so that a sanitizer sees a read past the end.
    const std::vector<uint8_t> prefix(g.bytes.begin(), g.bytes.begin() + n);
    try {
      decode_image(prefix, "some/file.jpg");
      ADD_FAILURE() << g.name << " decodes from its first " << n << " of " << g.bytes.size();
    } catch (const IoError& error) {
      ASSERT_EQ(std::string(error.what()).find("some/file.jpg"), 0u) << error.what();
    }
  }
}

TEST_P(CodecGolden, DamagedBytesDecodeOrThrowIoError) {
  const Golden& g = GetParam();
  const DecodeOptions small = {.max_pixels = 1 << 16};
  int failures = 0;
  for (size_t i = 0; i < g.bytes.size(); ++i) {
    for (const uint8_t flip : {0x01, 0x80, 0xFF}) {
      std::vector<uint8_t> bytes(g.bytes.begin(), g.bytes.end());
      bytes[i] ^= flip;
      try {
        const Image image = decode(bytes, small);
        EXPECT_EQ(image.pixels.size(), static_cast<size_t>(image.height * image.width * 3));
      } catch (const IoError&) {
        ++failures;
      }
    }
  }
  EXPECT_GT(failures, 0);
}

INSTANTIATE_TEST_SUITE_P(Files, CodecGolden, testing::ValuesIn(kGolden),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Codec, PngRoundTripIsExact) {
  for (const int64_t channels : {1, 3, 4})
    for (const int compression : {0, 6}) {
      const Image image = formula_image(19, 33, channels);
      const Image back = decode(encode_png(image, compression));
      ASSERT_EQ(back.height, 19);
      ASSERT_EQ(back.width, 33);
      for (int64_t y = 0; y < 19; ++y)
        for (int64_t x = 0; x < 33; ++x)
          for (int64_t c = 0; c < 3; ++c)
            ASSERT_EQ(back.at(y, x)[c], image.at(y, x)[channels == 1 ? 0 : c]);
    }
}

TEST(Codec, JpegRoundTripIsClose) {
  Image image(48, 40);
  for (int64_t y = 0; y < 48; ++y)
    for (int64_t x = 0; x < 40; ++x) {
      image.at(y, x)[0] = static_cast<uint8_t>(60 + 2 * x);
      image.at(y, x)[1] = static_cast<uint8_t>(200 - 3 * y);
      image.at(y, x)[2] = static_cast<uint8_t>(50 + x + y);
    }
  size_t bytes = 0;
  for (const auto& [quality, tolerance] : std::map<int, int>{{50, 24}, {89, 8}, {100, 3}}) {
    const std::vector<uint8_t> coded = encode_jpeg(image, quality);
    EXPECT_GT(coded.size(), bytes);  // a better quality costs more
    bytes = coded.size();
    const Image back = decode(coded);
    int worst = 0;
    for (size_t i = 0; i < image.pixels.size(); ++i)
      worst = std::max(worst, std::abs(image.pixels[i] - back.pixels[i]));
    EXPECT_LE(worst, tolerance) << "quality " << quality;
  }
  EXPECT_EQ(decode(encode_jpeg(Image(5, 7, 1, 90), 95)), Image(5, 7, 3, 90));
}

TEST(Codec, SniffsContentNotNames) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "picture.JPEG";
  const Image image = formula_image(6, 5, 3);
  write_png(path, image);
  EXPECT_EQ(read_image(path), image);
  EXPECT_EQ(sniff_image_format(golden_bytes("bmp_rgb")), ImageFormat::kBmp);
  EXPECT_EQ(sniff_image_format(golden_bytes("jpeg_cmyk")), ImageFormat::kJpeg);
  EXPECT_EQ(sniff_image_format({}), ImageFormat::kUnknown);
  write_jpeg(path, image, 90);
  EXPECT_EQ(read_image(path), decode(encode_jpeg(image, 90)));
}

TEST(Codec, LimitsAreCheckedBeforeAllocating) {
  // 65535 x 65535 in the headers of tiny files: 12.9 GB if it were believed.
  std::vector<uint8_t> jpeg = golden_bytes("jpeg_444");
  const std::vector<uint8_t> sof = {0xFF, 0xC0};
  const auto at = std::search(jpeg.begin(), jpeg.end(), sof.begin(), sof.end()) - jpeg.begin();
  std::fill_n(jpeg.begin() + at + 5, 4, 0xFF);
  expect_throw<IoError>([&] { decode(jpeg); }, {"test.img"});
  std::vector<uint8_t> bmp = golden_bytes("bmp_rgb");
  std::fill_n(bmp.begin() + 18, 3, 0xFF);
  std::fill_n(bmp.begin() + 22, 3, 0xFF);
  expect_throw<IoError>([&] { decode(bmp); }, {"test.img", "16777215 x 16777215", "limit"});
  std::string ppm = "P6 2147483647 2147483647 255 abc";
  expect_throw<IoError>([&] { decode({ppm.begin(), ppm.end()}); }, {"limit"});
  ppm = "P6 178956971 1 255 abc";  // one pixel more than Pillow takes
  expect_throw<IoError>([&] { decode({ppm.begin(), ppm.end()}); }, {"limit of 178956970"});
  ppm = "P6 178956970 1 255 abc";
  expect_throw<IoError>([&] { decode({ppm.begin(), ppm.end()}); }, {"truncated"});
  for (const char* name : {"jpeg_420", "png_rgb", "bmp_rgb", "ppm"}) {
    EXPECT_NO_THROW(decode(golden_bytes(name), {.max_pixels = 16 * 21}));
    expect_throw<IoError>([&] { decode(golden_bytes(name), {.max_pixels = 16 * 21 - 1}); },
                          {"test.img", "16 x 21", "335"});
  }
}

TEST(Codec, GiantPngHeaderWithAValidChecksum) {
  // IHDR of 2^31 - 1 squared; the checksum over it is right.
  const std::string_view head(
      "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x02\0\0\0", 29);
  uint32_t crc = 0xFFFFFFFFu;
  for (const char c : head.substr(12)) {
    crc ^= static_cast<uint8_t>(c);
    for (int k = 0; k < 8; ++k) crc = crc & 1 ? 0xEDB88320u ^ (crc >> 1) : crc >> 1;
  }
  crc = ~crc;
  std::vector<uint8_t> bytes(head.begin(), head.end());
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<uint8_t>(crc >> shift));
  const std::vector<uint8_t> rest = golden_bytes("png_rgb");
  bytes.insert(bytes.end(), rest.begin() + 33, rest.end());
  expect_throw<IoError>([&] { decode(bytes); }, {"test.img", "2147483647"});
}

TEST(Codec, StrayBytesBetweenMarkersAreTolerated) {
  std::vector<uint8_t> bytes = golden_bytes("jpeg_420");
  const Image image = decode(bytes);
  // After APP0, before the next marker: real archives hold such files, and every viewer shows them.
  const size_t at = 4 + static_cast<size_t>(bytes[4] * 256 + bytes[5]);
  bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), {0x12, 0x34, 0x56});
  EXPECT_EQ(decode(bytes), image);
}

TEST(Codec, ReadErrorsNameTheFile) {
  const TemporaryFolder folder;
  const auto missing = folder.path() / "absent.jpg";
  expect_throw<IoError>([&] { read_image(missing); }, {missing.string(), "No such file"});
  expect_throw<IoError>([&] { read_image(folder.path()); }, {folder.path().string()});
  const auto text = folder.path() / "text.jpg";
  io::write_file_atomic(text, "GIF89a, or anything else");
  expect_throw<IoError>([&] { read_image(text); }, {text.string(), "not a JPEG"});
  io::write_file_atomic(text, "");
  expect_throw<IoError>([&] { read_image(text); }, {text.string(), "empty file"});
}

TEST(Codec, EncodersRejectBadArguments) {
  expect_throw<ValueError>([] { encode_jpeg(Image(4, 4, 4)); }, {"encode_jpeg", "got 4"});
  expect_throw<ValueError>([] { encode_jpeg(Image(4, 4), 101); }, {"101"});
  expect_throw<ValueError>([] { encode_jpeg(Image(1, 65501, 1)); }, {"65501"});
  expect_throw<ValueError>([] { encode_png(Image(4, 4, 2)); }, {"encode_png", "got 2"});
  expect_throw<ValueError>([] { encode_png(Image(0, 4)); }, {"empty"});
  expect_throw<ValueError>([] { encode_png(Image(4, 4), 10); }, {"10"});
  const TemporaryFolder folder;
  const auto path = folder.path() / "no" / "such" / "folder.png";
  expect_throw<IoError>([&] { write_png(path, Image(2, 2)); }, {path.string(), "No such file"});
}

}  // namespace
}  // namespace tessera::data

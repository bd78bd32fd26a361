#include "data/codec.h"

#include <algorithm>
#include <string_view>

#include "data/codec_internal.h"
#include "io/atomic_file.h"
#include "io/read_file.h"

namespace tessera::data {

namespace detail {

void check_size(int64_t height, int64_t width, const std::string& name,
                const DecodeOptions& options) {
  TESSERA_CHECK(IoError, height > 0 && width > 0, name, ": empty image, header says ", height,
                " x ", width, " (height x width)");
  // Divided rather than multiplied: a hostile header must not overflow.
  TESSERA_CHECK(IoError, height <= options.max_pixels / width, name, ": header says ", height,
                " x ", width, " (height x width), more than the limit of ", options.max_pixels,
                " pixels");
}

void check_encodable(const Image& image, const char* op, bool alpha_allowed) {
  const int64_t c = image.channels;
  TESSERA_CHECK(ValueError, c == 1 || c == 3 || (alpha_allowed && c == 4), op, ": expected 1",
                alpha_allowed ? ", 3 or 4" : " or 3", " channels, got ", c);
  TESSERA_CHECK(ValueError, image.height > 0 && image.width > 0, op, ": empty image ", image.height,
                " x ", image.width);
  TESSERA_CHECK(ValueError,
                image.pixels.size() == static_cast<size_t>(image.height * image.width * c), op,
                ": image of ", image.height, " x ", image.width, " x ", c, " holds ",
                image.pixels.size(), " bytes");
}

namespace {

/// One header number of a PNM file: skips white space and comments, then reads digits.
int64_t pnm_number(std::span<const uint8_t> bytes, size_t& at, const std::string& name) {
  const auto space = [](uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  while (at < bytes.size() && (space(bytes[at]) || bytes[at] == '#')) {
    if (bytes[at] == '#')
      while (at < bytes.size() && bytes[at] != '\n') ++at;
    else
      ++at;
  }
  int64_t value = 0;
  const size_t first = at;
  for (; at < bytes.size() && bytes[at] >= '0' && bytes[at] <= '9'; ++at) {
    value = value * 10 + (bytes[at] - '0');
    TESSERA_CHECK(IoError, value <= INT32_MAX, name, ": PNM header number is too large");
  }
  TESSERA_CHECK(IoError, at > first, name, ": PNM header ends early or is not a number");
  return value;
}

}  // namespace

Image decode_pnm(std::span<const uint8_t> bytes, const std::string& name,
                 const DecodeOptions& options) {
  const int64_t channels = bytes[1] == '5' ? 1 : 3;
  size_t at = 2;
  const int64_t width = pnm_number(bytes, at, name);
  const int64_t height = pnm_number(bytes, at, name);
  const int64_t maximum = pnm_number(bytes, at, name);
  check_size(height, width, name, options);
  TESSERA_CHECK(IoError, maximum == 255, name, ": PNM with maximum ", maximum,
                " (only 8-bit files, maximum 255, are read)");
  ++at;  // the single white space after the header
  const size_t count = static_cast<size_t>(height * width * channels);
  TESSERA_CHECK(IoError, at <= bytes.size() && count <= bytes.size() - at, name,
                ": truncated PNM, expected ", count, " bytes of pixels after the header, got ",
                at <= bytes.size() ? bytes.size() - at : 0);
  Image image(height, width);
  const uint8_t* in = bytes.data() + at;
  if (channels == 3) {
    std::copy(in, in + count, image.pixels.begin());
  } else {
    for (size_t i = 0; i < count; ++i) std::fill_n(image.pixels.begin() + 3 * i, 3, in[i]);
  }
  return image;
}

}  // namespace detail

ImageFormat sniff_image_format(std::span<const uint8_t> bytes) {
  const auto starts = [&](std::string_view magic) {
    return bytes.size() >= magic.size() &&
           std::equal(magic.begin(), magic.end(), bytes.begin(),
                      [](char a, uint8_t b) { return static_cast<uint8_t>(a) == b; });
  };
  if (starts("\xFF\xD8\xFF")) return ImageFormat::kJpeg;
  if (starts("\x89PNG\r\n\x1A\n")) return ImageFormat::kPng;
  if (starts("BM")) return ImageFormat::kBmp;
  if (starts("P5") || starts("P6")) return ImageFormat::kPnm;
  return ImageFormat::kUnknown;
}

Image decode_image(std::span<const uint8_t> bytes, const std::string& name,
                   const DecodeOptions& options) {
  switch (sniff_image_format(bytes)) {
    case ImageFormat::kJpeg:
      return detail::decode_jpeg(bytes, name, options);
    case ImageFormat::kPng:
      return detail::decode_png(bytes, name, options);
    case ImageFormat::kBmp:
      return detail::decode_bmp(bytes, name, options);
    case ImageFormat::kPnm:
      return detail::decode_pnm(bytes, name, options);
    case ImageFormat::kUnknown:
      break;
  }
  TESSERA_CHECK(IoError, !bytes.empty(), name, ": empty file, expected an image");
  throw IoError(cat(name, ": not a JPEG, PNG, BMP, PGM or PPM image"));
}

Image read_image(const std::filesystem::path& path, const DecodeOptions& options) {
  return decode_image(io::read_file(path), path.string(), options);
}

void write_png(const std::filesystem::path& path, const Image& image, int compression) {
  const std::vector<uint8_t> bytes = encode_png(image, compression);
  io::write_file_atomic(path, std::as_bytes(std::span(bytes)));
}

void write_jpeg(const std::filesystem::path& path, const Image& image, int quality) {
  const std::vector<uint8_t> bytes = encode_jpeg(image, quality);
  io::write_file_atomic(path, std::as_bytes(std::span(bytes)));
}

}  // namespace tessera::data

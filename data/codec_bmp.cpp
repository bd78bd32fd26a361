#include <algorithm>
#include <memory>

#include "data/codec_internal.h"

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_NO_FAILURE_STRINGS
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#endif
#include <stb/stb_image.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

namespace tessera::data {
namespace {

struct Header {
  int64_t height, width;
};

/// Bounds-checked little-endian reads.
class Fields {
 public:
  Fields(std::span<const uint8_t> bytes, const std::string& name) : bytes_(bytes), name_(name) {}
  uint32_t u32(size_t at) const { return u16(at) | u16(at + 2) << 16; }
  uint32_t u16(size_t at) const {
    TESSERA_CHECK(IoError, at + 2 <= bytes_.size(), name_, ": truncated BMP header");
    return static_cast<uint32_t>(bytes_[at] | bytes_[at + 1] << 8);
  }

 private:
  std::span<const uint8_t> bytes_;
  const std::string& name_;
};

/// Everything stb_image takes on trust: it reads zeros past the end of a file, and does not compare
/// the pixel area with the size. Source of the layout: the Windows BITMAPINFOHEADER family.
Header check_header(std::span<const uint8_t> bytes, const std::string& name,
                    const DecodeOptions& options) {
  const Fields file(bytes, name);
  const uint32_t offset = file.u32(10), header = file.u32(14);
  TESSERA_CHECK(IoError,
                header == 12 || header == 40 || header == 56 || header == 108 || header == 124,
                name, ": BMP header of ", header, " bytes (expected 12, 40, 56, 108 or 124)");
  const bool old = header == 12;
  const int64_t width = old ? file.u16(18) : static_cast<int32_t>(file.u32(18));
  // Negative: rows stored top to bottom.
  const int64_t rows = old ? file.u16(20) : static_cast<int32_t>(file.u32(22));
  const int64_t height = rows < 0 ? -rows : rows;
  const uint32_t bits = file.u16(old ? 24 : 28);
  const uint32_t compression = old ? 0 : file.u32(30);
  file.u32(14 + header - 4);  // the header is there in full
  detail::check_size(height, width, name, options);
  const bool indexed = bits == 1 || bits == 4 || bits == 8;
  TESSERA_CHECK(IoError, indexed || bits == 16 || bits == 24 || bits == 32, name, ": BMP with ",
                bits, " bits per pixel (expected 1, 4, 8, 16, 24 or 32)");
  const bool masks = compression == 3 && (bits == 16 || bits == 32);
  TESSERA_CHECK(IoError, compression == 0 || masks, name, ": BMP compression ", compression, " at ",
                bits, " bits is not supported (only uncompressed files are read)");
  // A 40-byte header is followed by its three masks, and by the palette of an indexed image.
  const uint64_t fixed = 14 + header + (masks && header == 40 ? 12 : 0);
  TESSERA_CHECK(IoError, offset >= fixed && offset <= bytes.size(), name, ": BMP pixel offset ",
                offset, " is outside [", fixed, ", ", bytes.size(), "]");
  const uint64_t entry = old ? 3 : 4;
  TESSERA_CHECK(IoError, !indexed || offset - fixed <= entry * 256, name, ": BMP palette of ",
                offset - fixed, " bytes (expected at most ", entry * 256, ")");
  const uint64_t stride = (static_cast<uint64_t>(width) * bits + 31) / 32 * 4;
  const uint64_t need = stride * static_cast<uint64_t>(height);
  TESSERA_CHECK(IoError, bytes.size() - offset >= need, name, ": truncated BMP, ", need,
                " bytes of pixels expected, got ", bytes.size() - offset);
  return {height, width};
}

}  // namespace

Image detail::decode_bmp(std::span<const uint8_t> bytes, const std::string& name,
                         const DecodeOptions& options) {
  const Header header = check_header(bytes, name, options);
  TESSERA_CHECK(IoError, bytes.size() <= INT32_MAX, name, ": BMP larger than 2 GiB");
  int width = 0, height = 0, channels = 0;
  const std::unique_ptr<uint8_t, decltype(&stbi_image_free)> pixels(
      stbi_load_from_memory(bytes.data(), static_cast<int>(bytes.size()), &width, &height,
                            &channels, 3),
      stbi_image_free);
  TESSERA_CHECK(IoError, pixels && width == header.width && height == header.height, name,
                ": bad BMP (bit masks or palette)");
  Image image(height, width);
  std::copy_n(pixels.get(), image.pixels.size(), image.pixels.begin());
  return image;
}

}  // namespace tessera::data

#include <algorithm>
#include <array>
#include <bit>

#include "data/codec_internal.h"

namespace tessera::data {
namespace {

constexpr uint32_t kPlain = 0, kRuns8 = 1, kRuns4 = 2, kMasks = 3;

using Rgb = std::array<uint8_t, 3>;

struct Header {
  int64_t height = 0, width = 0;
  bool top_down = false;
  uint32_t bits = 0, compression = kPlain;
  std::array<uint32_t, 3> masks = {};  // red, green, blue bits of a 16 or 32-bit pixel
  size_t palette = 0, entry = 4, colours = 0;
  size_t offset = 0;  // of the pixels
};

/// Bounds-checked little-endian reads.
class Fields {
 public:
  Fields(std::span<const uint8_t> bytes, const std::string& name) : bytes_(bytes), name_(name) {}
  uint32_t u32(size_t at) const { return u16(at) | u16(at + 2) << 16; }
  int64_t i32(size_t at) const { return static_cast<int32_t>(u32(at)); }
  uint32_t u16(size_t at) const {
    TESSERA_CHECK(IoError, at + 2 <= bytes_.size(), name_, ": truncated BMP header");
    return static_cast<uint32_t>(bytes_[at] | bytes_[at + 1] << 8);
  }

 private:
  std::span<const uint8_t> bytes_;
  const std::string& name_;
};

/// Source: Microsoft's BITMAPCOREHEADER (12 bytes) and the BITMAPINFOHEADER family (40 and more).
Header parse_header(std::span<const uint8_t> bytes, const std::string& name,
                    const DecodeOptions& options) {
  const Fields file(bytes, name);
  const size_t size = file.u32(14);
  constexpr std::array<size_t, 6> kSizes = {12, 40, 52, 56, 108, 124};
  TESSERA_CHECK(IoError, std::find(kSizes.begin(), kSizes.end(), size) != kSizes.end(), name,
                ": BMP header of ", size, " bytes (expected 12, 40, 52, 56, 108 or 124)");
  file.u32(14 + size - 4);  // it is there in full
  const bool core = size == 12;
  Header h;
  h.width = core ? int64_t{file.u16(18)} : file.i32(18);
  const int64_t rows = core ? int64_t{file.u16(20)} : file.i32(22);
  h.top_down = rows < 0;
  h.height = h.top_down ? -rows : rows;
  h.bits = file.u16(core ? 24 : 28);
  h.compression = core ? kPlain : file.u32(30);
  detail::check_size(h.height, h.width, name, options);
  const bool indexed = h.bits == 1 || h.bits == 4 || h.bits == 8;
  TESSERA_CHECK(IoError, indexed || h.bits == 16 || h.bits == 24 || h.bits == 32, name,
                ": BMP with ", h.bits, " bits per pixel (expected 1, 4, 8, 16, 24 or 32)");
  const bool masks = h.compression == kMasks && (h.bits == 16 || h.bits == 32);
  TESSERA_CHECK(IoError,
                h.compression == kPlain || masks || (h.compression == kRuns8 && h.bits == 8) ||
                    (h.compression == kRuns4 && h.bits == 4),
                name, ": BMP compression ", h.compression, " at ", h.bits,
                " bits per pixel is not supported");
  // A 40-byte header is followed by its masks, longer ones contain them in the same place.
  h.palette = 14 + size + (masks && size == 40 ? 12 : 0);
  h.masks = h.bits == 16 ? std::array<uint32_t, 3>{0x7C00, 0x03E0, 0x001F}
                         : std::array<uint32_t, 3>{0xFF0000, 0x00FF00, 0x0000FF};
  if (masks) h.masks = {file.u32(54), file.u32(58), file.u32(62)};
  h.offset = file.u32(10);
  TESSERA_CHECK(IoError, h.offset >= h.palette && h.offset <= bytes.size(), name,
                ": BMP pixel offset ", h.offset, " is outside [", h.palette, ", ", bytes.size(),
                "]");
  if (!indexed) return h;
  h.entry = core ? 3 : 4;
  h.colours = size_t{1} << h.bits;
  const size_t used = core ? 0 : file.u32(46);  // 0: all
  if (used > 0) h.colours = std::min(h.colours, used);
  h.colours = std::min(h.colours, (h.offset - h.palette) / h.entry);
  return h;
}

/// The bits of a pixel that make one channel, scaled to 0..255 and truncated, as in Pillow.
class Channel {
 public:
  Channel(uint32_t mask, const std::string& name) : mask_(mask) {
    TESSERA_CHECK(IoError, mask != 0, name, ": BMP with an empty colour mask");
    shift_ = std::countr_zero(mask);
    maximum_ = mask >> shift_;
    TESSERA_CHECK(IoError, (maximum_ & (maximum_ + 1)) == 0, name,
                  ": BMP with a colour mask that has holes");
  }
  uint8_t operator()(uint32_t pixel) const {
    const uint32_t value = (pixel & mask_) >> shift_;
    return static_cast<uint8_t>(maximum_ == 255 ? value : uint64_t{value} * 255 / maximum_);
  }

 private:
  uint32_t mask_, maximum_;
  int shift_;
};

uint8_t* output_row(Image& image, const Header& h, int64_t y) {
  return image.at(h.top_down ? y : h.height - 1 - y, 0);
}

void read_direct(const uint8_t* rows, size_t stride, const Header& h, const std::string& name,
                 Image& image) {
  const Channel red(h.masks[0], name), green(h.masks[1], name), blue(h.masks[2], name);
  const size_t bytes = h.bits / 8;
  for (int64_t y = 0; y < h.height; ++y) {
    const uint8_t* in = rows + static_cast<size_t>(y) * stride;
    uint8_t* out = output_row(image, h, y);
    for (int64_t x = 0; x < h.width; ++x, in += bytes) {
      uint32_t pixel = 0;
      for (size_t b = 0; b < bytes; ++b) pixel |= uint32_t{in[b]} << (8 * b);
      *out++ = red(pixel);
      *out++ = green(pixel);
      *out++ = blue(pixel);
    }
  }
}

/// Colours that the file does not define are black.
std::array<Rgb, 256> read_palette(std::span<const uint8_t> bytes, const Header& h) {
  std::array<Rgb, 256> palette = {};
  for (size_t i = 0; i < h.colours; ++i) {
    const uint8_t* in = bytes.data() + h.palette + i * h.entry;
    palette[i] = {in[2], in[1], in[0]};
  }
  return palette;
}

/// Palette indices (height, width) of run-length coded pixels; what the runs skip is 0. A run that
/// is longer than its row is cut, as writers round up to whole bytes.
std::vector<uint8_t> expand_runs(std::span<const uint8_t> in, const Header& h,
                                 const std::string& name) {
  std::vector<uint8_t> out(static_cast<size_t>(h.height * h.width), 0);
  int64_t x = 0, y = 0;
  size_t at = 0;
  const auto next = [&] {
    TESSERA_CHECK(IoError, at < in.size(), name, ": truncated BMP, its runs end in row ", y, " of ",
                  h.height);
    return in[at++];
  };
  const auto put = [&](uint8_t pair, int i) {
    TESSERA_CHECK(IoError, y < h.height, name, ": BMP with runs below its ", h.height, " rows");
    const uint8_t index = h.bits == 8 ? pair : i % 2 == 0 ? pair >> 4 : pair & 15;
    if (x < h.width) out[static_cast<size_t>(y * h.width + x)] = index;
    ++x;
  };
  while (true) {
    const int count = next(), value = next();
    if (count > 0) {
      for (int i = 0; i < count; ++i) put(static_cast<uint8_t>(value), i);
    } else if (value == 0) {  // end of row
      x = 0;
      ++y;
    } else if (value == 1) {  // end of image
      return out;
    } else if (value == 2) {  // skip
      x += next();
      y += next();
    } else {  // `value` pixels one by one, padded to an even number of bytes
      const size_t first = at;
      uint8_t pair = 0;
      for (int i = 0; i < value; ++i) {
        if (h.bits == 8 || i % 2 == 0) pair = next();
        put(pair, i);
      }
      if ((at - first) % 2 == 1) next();
    }
  }
}

void read_indexed(std::span<const uint8_t> bytes, size_t stride, const Header& h,
                  const std::string& name, Image& image) {
  const std::array<Rgb, 256> palette = read_palette(bytes, h);
  const bool plain = h.compression == kPlain;
  std::vector<uint8_t> runs;
  if (!plain) runs = expand_runs(bytes.subspan(h.offset), h, name);
  const uint8_t* rows = plain ? bytes.data() + h.offset : runs.data();
  const size_t step = plain ? stride : static_cast<size_t>(h.width);
  const uint32_t bits = plain ? h.bits : 8, mask = (1u << bits) - 1;
  for (int64_t y = 0; y < h.height; ++y) {
    const uint8_t* in = rows + static_cast<size_t>(y) * step;
    uint8_t* out = output_row(image, h, y);
    for (size_t x = 0; x < static_cast<size_t>(h.width); ++x) {
      const size_t bit = x * bits;
      const Rgb& colour = palette[in[bit / 8] >> (8 - bits - bit % 8) & mask];
      out = std::copy(colour.begin(), colour.end(), out);
    }
  }
}

}  // namespace

Image detail::decode_bmp(std::span<const uint8_t> bytes, const std::string& name,
                         const DecodeOptions& options) {
  const Header h = parse_header(bytes, name, options);
  const uint64_t stride = (static_cast<uint64_t>(h.width) * h.bits + 31) / 32 * 4;
  const uint64_t need = stride * static_cast<uint64_t>(h.height);
  const bool runs = h.compression == kRuns8 || h.compression == kRuns4;
  TESSERA_CHECK(IoError, runs || bytes.size() - h.offset >= need, name, ": truncated BMP, ", need,
                " bytes of pixels expected, got ", bytes.size() - h.offset);
  Image image(h.height, h.width);
  if (h.bits <= 8)
    read_indexed(bytes, stride, h, name, image);
  else
    read_direct(bytes.data() + h.offset, stride, h, name, image);
  return image;
}

}  // namespace tessera::data

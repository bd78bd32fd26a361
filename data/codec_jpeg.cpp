#include <csetjmp>
#include <cstdio>
#include <cstdlib>

#include "data/codec_internal.h"
// jpeglib.h relies on <cstdio> having been included.
#include <jerror.h>
#include <jpeglib.h>

namespace tessera::data {
namespace {

/// A progressive file may hold any number of scans and each costs a pass over the whole image.
constexpr int kMaxScans = 500;

/// libjpeg reports errors by a callback that must not return; it jumps back to the last setjmp.
/// No frame between the two owns a C++ object.
struct ErrorManager {
  jpeg_error_mgr base;  // first: libjpeg hands us a pointer to it
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void leave(j_common_ptr info) {
  auto* error = reinterpret_cast<ErrorManager*>(info->err);
  error->base.format_message(info, error->message);
  std::longjmp(error->jump, 1);
}

/// Warnings about markers leave the pixels intact; any other means damaged or missing image data,
/// which libjpeg would paint grey.
bool harmless(int warning) {
  switch (warning) {
    case JWRN_ADOBE_XFORM:
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_JFIF_MAJOR:
    case JWRN_NOT_SEQUENTIAL:
    case JWRN_TOO_MUCH_DATA:
      return true;
    default:
      return false;
  }
}

void on_message(j_common_ptr info, int level) {
  if (level < 0 && !harmless(info->err->msg_code)) leave(info);
}

void on_progress(j_common_ptr info) {
  if (!info->is_decompressor) return;
  const auto* decoder = reinterpret_cast<j_decompress_ptr>(info);
  if (decoder->input_scan_number <= kMaxScans) return;
  auto* error = reinterpret_cast<ErrorManager*>(info->err);
  std::snprintf(error->message, sizeof error->message, "more than %d progressive scans", kMaxScans);
  std::longjmp(error->jump, 1);
}

jpeg_error_mgr* install(ErrorManager& error) {
  jpeg_std_error(&error.base);
  error.base.error_exit = leave;
  error.base.emit_message = on_message;
  error.message[0] = '\0';
  return &error.base;
}

/// a * b / 255 rounded to nearest for a, b in [0, 255], as Pillow computes it.
uint8_t multiply_255(int a, int b) {
  const int t = a * b + 128;
  return static_cast<uint8_t>((t + (t >> 8)) >> 8);
}

/// Adobe writes inverted inks, so the file's bytes are already "255 - ink".
void inverted_cmyk_to_rgb(const uint8_t* in, uint8_t* out, int64_t width) {
  for (int64_t x = 0; x < width; ++x, in += 4, out += 3) {
    const int not_black = in[3];
    for (int c = 0; c < 3; ++c)
      out[c] = static_cast<uint8_t>(not_black - multiply_255(255 - in[c], not_black));
  }
}

class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : bytes_(bytes) {
    info_.err = install(error_);
    progress_.progress_monitor = on_progress;
  }
  ~Reader() { jpeg_destroy_decompress(&info_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  /// false: see message().
  bool read_header() {
    if (setjmp(error_.jump)) return false;
    jpeg_create_decompress(&info_);
    info_.progress = &progress_;
    jpeg_mem_src(&info_, bytes_.data(), static_cast<unsigned long>(bytes_.size()));
    jpeg_read_header(&info_, TRUE);
    return true;
  }

  bool cmyk() const {
    return info_.jpeg_color_space == JCS_CMYK || info_.jpeg_color_space == JCS_YCCK;
  }
  int64_t height() const { return info_.image_height; }
  int64_t width() const { return info_.image_width; }
  int components() const { return info_.num_components; }
  const char* message() const { return error_.message; }

  /// out: height * width * 3 bytes; row: width * 4 bytes, used for CMYK only.
  bool read_pixels(uint8_t* out, uint8_t* row) {
    if (setjmp(error_.jump)) return false;
    info_.out_color_space = cmyk() ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(&info_);
    while (info_.output_scanline < info_.output_height) {
      uint8_t* line = out + static_cast<size_t>(info_.output_scanline) * info_.output_width * 3;
      JSAMPROW target = cmyk() ? row : line;
      jpeg_read_scanlines(&info_, &target, 1);
      if (cmyk()) inverted_cmyk_to_rgb(row, line, info_.output_width);
    }
    jpeg_finish_decompress(&info_);  // reads up to the end marker: a file without it is truncated
    return true;
  }

 private:
  std::span<const uint8_t> bytes_;
  ErrorManager error_;
  jpeg_progress_mgr progress_ = {};
  jpeg_decompress_struct info_ = {};
};

class Writer {
 public:
  Writer() { info_.err = install(error_); }
  ~Writer() {
    jpeg_destroy_compress(&info_);
    std::free(bytes_);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  bool write(const Image& image, int quality) {
    if (setjmp(error_.jump)) return false;
    jpeg_create_compress(&info_);
    jpeg_mem_dest(&info_, &bytes_, &size_);
    info_.image_height = static_cast<JDIMENSION>(image.height);
    info_.image_width = static_cast<JDIMENSION>(image.width);
    info_.input_components = static_cast<int>(image.channels);
    info_.in_color_space = image.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&info_);
    jpeg_set_quality(&info_, quality, TRUE);
    if (quality >= 90) info_.comp_info[0].h_samp_factor = info_.comp_info[0].v_samp_factor = 1;
    jpeg_start_compress(&info_, TRUE);
    while (info_.next_scanline < info_.image_height) {
      JSAMPROW row = const_cast<JSAMPROW>(image.at(info_.next_scanline, 0));  // libjpeg only reads
      jpeg_write_scanlines(&info_, &row, 1);
    }
    jpeg_finish_compress(&info_);
    return true;
  }

  const char* message() const { return error_.message; }
  std::vector<uint8_t> take() const { return {bytes_, bytes_ + size_}; }

 private:
  ErrorManager error_;
  jpeg_compress_struct info_ = {};
  unsigned char* bytes_ = nullptr;
  unsigned long size_ = 0;
};

}  // namespace

Image detail::decode_jpeg(std::span<const uint8_t> bytes, const std::string& name,
                          const DecodeOptions& options) {
  Reader reader(bytes);
  TESSERA_CHECK(IoError, reader.read_header(), name, ": bad JPEG: ", reader.message());
  check_size(reader.height(), reader.width(), name, options);
  const int components = reader.components();
  TESSERA_CHECK(IoError, components == 1 || components == 3 || components == 4, name,
                ": JPEG with ", components, " components (expected 1, 3 or 4)");
  Image image(reader.height(), reader.width());
  std::vector<uint8_t> row(reader.cmyk() ? static_cast<size_t>(image.width) * 4 : 0);
  TESSERA_CHECK(IoError, reader.read_pixels(image.pixels.data(), row.data()), name,
                ": bad JPEG: ", reader.message());
  return image;
}

std::vector<uint8_t> encode_jpeg(const Image& image, int quality) {
  detail::check_encodable(image, "encode_jpeg", false);
  TESSERA_CHECK(ValueError, quality >= 1 && quality <= 100,
                "encode_jpeg: quality must be 1 to 100, got ", quality);
  TESSERA_CHECK(ValueError, image.height <= JPEG_MAX_DIMENSION && image.width <= JPEG_MAX_DIMENSION,
                "encode_jpeg: sides are limited to ", JPEG_MAX_DIMENSION, ", got ", image.height,
                " x ", image.width);
  Writer writer;
  TESSERA_CHECK(ValueError, writer.write(image, quality), "encode_jpeg: ", writer.message());
  return writer.take();
}

}  // namespace tessera::data

#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <exception>

#include "data/codec_internal.h"

namespace tessera::data {
namespace {

struct Message {
  char text[256] = "";
};

/// libpng's error callback must not return; png_longjmp goes back to the last setjmp. No frame
/// between the two owns a C++ object.
[[noreturn]] void on_error(png_structp png, png_const_charp text) {
  auto* message = static_cast<Message*>(png_get_error_ptr(png));
  std::snprintf(message->text, sizeof message->text, "%s", text);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

struct Source {
  const uint8_t* bytes;
  size_t left;
};

void read_bytes(png_structp png, png_bytep out, size_t count) {
  auto* source = static_cast<Source*>(png_get_io_ptr(png));
  if (count > source->left) png_error(png, "truncated file");
  std::memcpy(out, source->bytes, count);
  source->bytes += count;
  source->left -= count;
}

class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : source_{bytes.data(), bytes.size()} {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &message_, on_error, on_warning);
    if (png_) info_ = png_create_info_struct(png_);
    if (!info_) {
      png_destroy_read_struct(&png_, &info_, nullptr);
      throw std::bad_alloc();
    }
  }
  ~Reader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  /// false: see message().
  bool read_header() {
    if (setjmp(png_jmpbuf(png_))) return false;
    png_set_read_fn(png_, &source_, read_bytes);
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // ours is checked by the caller
    png_set_chunk_malloc_max(png_, 1 << 24);                      // compressed text and profiles
    png_read_info(png_, info_);
    return true;
  }

  int64_t height() const { return png_get_image_height(png_, info_); }
  int64_t width() const { return png_get_image_width(png_, info_); }
  const char* message() const { return message_.text; }

  bool set_rgb_output() {
    if (setjmp(png_jmpbuf(png_))) return false;
    png_set_expand(png_);  // palette to RGB, 1/2/4-bit grey to 8, tRNS to alpha
    png_set_strip_16(png_);
    png_set_gray_to_rgb(png_);
    png_set_strip_alpha(png_);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    if (png_get_rowbytes(png_, info_) != static_cast<size_t>(width()) * 3)
      png_error(png_, "does not expand to RGB");
    return true;
  }

  /// rows: one pointer per line, each to width * 3 bytes.
  bool read_pixels(png_bytepp rows) {
    if (setjmp(png_jmpbuf(png_))) return false;
    png_read_image(png_, rows);
    png_read_end(png_, nullptr);
    return true;
  }

 private:
  Message message_;
  Source source_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

/// The callback must not let bad_alloc pass through libpng's C frames.
void append_bytes(png_structp png, png_bytep bytes, size_t count) {
  auto* out = static_cast<std::vector<uint8_t>*>(png_get_io_ptr(png));
  bool failed = false;
  try {
    out->insert(out->end(), bytes, bytes + count);
  } catch (const std::exception&) {
    failed = true;
  }
  if (failed) png_error(png, "out of memory");
}

void flush_nothing(png_structp) {}

class Writer {
 public:
  Writer() {
    png_ = png_create_write_struct(PNG_LIBPNG_VER_STRING, &message_, on_error, on_warning);
    if (png_) info_ = png_create_info_struct(png_);
    if (!info_) {
      png_destroy_write_struct(&png_, &info_);
      throw std::bad_alloc();
    }
  }
  ~Writer() { png_destroy_write_struct(&png_, &info_); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  bool write(const Image& image, int compression, std::vector<uint8_t>* out) {
    if (setjmp(png_jmpbuf(png_))) return false;
    const int colour = image.channels == 1   ? PNG_COLOR_TYPE_GRAY
                       : image.channels == 3 ? PNG_COLOR_TYPE_RGB
                                             : PNG_COLOR_TYPE_RGB_ALPHA;
    png_set_write_fn(png_, out, append_bytes, flush_nothing);
    png_set_compression_level(png_, compression);
    png_set_IHDR(png_, info_, static_cast<png_uint_32>(image.width),
                 static_cast<png_uint_32>(image.height), 8, colour, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png_, info_);
    for (int64_t y = 0; y < image.height; ++y) png_write_row(png_, image.at(y, 0));
    png_write_end(png_, nullptr);
    return true;
  }

  const char* message() const { return message_.text; }

 private:
  Message message_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

}  // namespace

Image detail::decode_png(std::span<const uint8_t> bytes, const std::string& name,
                         const DecodeOptions& options) {
  Reader reader(bytes);
  TESSERA_CHECK(IoError, reader.read_header(), name, ": bad PNG: ", reader.message());
  check_size(reader.height(), reader.width(), name, options);
  TESSERA_CHECK(IoError, reader.set_rgb_output(), name, ": bad PNG: ", reader.message());
  Image image(reader.height(), reader.width());
  std::vector<png_bytep> rows(static_cast<size_t>(image.height));
  for (int64_t y = 0; y < image.height; ++y) rows[static_cast<size_t>(y)] = image.at(y, 0);
  TESSERA_CHECK(IoError, reader.read_pixels(rows.data()), name, ": bad PNG: ", reader.message());
  return image;
}

std::vector<uint8_t> encode_png(const Image& image, int compression) {
  detail::check_encodable(image, "encode_png", true);
  TESSERA_CHECK(ValueError, compression >= 0 && compression <= 9,
                "encode_png: compression must be 0 to 9, got ", compression);
  std::vector<uint8_t> bytes;
  Writer writer;
  TESSERA_CHECK(ValueError, writer.write(image, compression, &bytes),
                "encode_png: ", writer.message());
  return bytes;
}

}  // namespace tessera::data

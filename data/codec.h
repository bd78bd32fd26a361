#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/image.h"

namespace tessera::data {

enum class ImageFormat { kUnknown, kJpeg, kPng, kBmp, kPnm };

struct DecodeOptions {
  /// Largest height * width; checked from the header before any pixel memory is allocated. A small
  /// file can claim, and expand to, any size: raise it for files that you trust.
  int64_t max_pixels = kMaxPixels;
};

/// The format by content (file names lie: ImageNet has a PNG named .JPEG).
ImageFormat sniff_image_format(std::span<const uint8_t> bytes);

/// Decodes a JPEG, PNG, BMP or binary PGM/PPM file to RGB, equal to Pillow's `convert("RGB")`:
/// grey is replicated, palettes expanded, alpha dropped, 16-bit PNG cut to its high byte (Pillow
/// clips 16-bit grey instead), CMYK and YCCK JPEG (Adobe's inverted inks) converted by
/// Pillow's formula. EXIF orientation is not applied.
///   bytes    the whole file; `name` is only for messages
///   returns  (height, width, 3) uint8
/// JPEG uses libjpeg-turbo (accurate integer DCT, smooth chroma upsampling), PNG libpng. BMP: 1, 4,
/// 8, 16, 24 and 32 bits per pixel, rows in either order, colour masks, run-length coding. Throws
/// IoError naming the file for unknown formats, corrupt or truncated data and for images over
/// options.max_pixels. A warning that leaves the pixels intact (stray bytes between
/// markers) is no error; one about the coded data itself is.
Image decode_image(std::span<const uint8_t> bytes, const std::string& name,
                   const DecodeOptions& options = {});

/// Reads and decodes a file. Throws IoError like decode_image, and when it cannot be read.
Image read_image(const std::filesystem::path& path, const DecodeOptions& options = {});

/// Encodes a 1, 3 or 4 channel image as PNG, lossless. compression: zlib level 0 to 9.
/// Throws ValueError for an empty image, other channel counts or levels.
std::vector<uint8_t> encode_png(const Image& image, int compression = 6);

/// Encodes a 1 or 3 channel image as baseline JPEG; quality 1 to 100. Chroma is subsampled 2 x 2
/// below quality 90 and kept at full resolution from there on.
/// Throws ValueError for an empty image, other channel counts, sides over 65500 or other qualities.
std::vector<uint8_t> encode_jpeg(const Image& image, int quality = 95);

/// Encode and write atomically (io/atomic_file.h). Throw ValueError like the encoders, IoError when
/// the file cannot be written.
void write_png(const std::filesystem::path& path, const Image& image, int compression = 6);
void write_jpeg(const std::filesystem::path& path, const Image& image, int quality = 95);

}  // namespace tessera::data

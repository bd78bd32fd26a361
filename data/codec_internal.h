#pragma once

// Private to data/codec*.cpp: one decoder per format behind decode_image.

#include <cstdint>
#include <span>
#include <string>

#include "data/codec.h"

namespace tessera::data::detail {

Image decode_jpeg(std::span<const uint8_t> bytes, const std::string& name,
                  const DecodeOptions& options);
Image decode_png(std::span<const uint8_t> bytes, const std::string& name,
                 const DecodeOptions& options);
Image decode_bmp(std::span<const uint8_t> bytes, const std::string& name,
                 const DecodeOptions& options);
Image decode_pnm(std::span<const uint8_t> bytes, const std::string& name,
                 const DecodeOptions& options);

/// Throws IoError unless both sides are positive and the area is within the limit.
void check_size(int64_t height, int64_t width, const std::string& name,
                const DecodeOptions& options);

/// Throws ValueError unless the buffer matches the sizes and `channels` is allowed.
void check_encodable(const Image& image, const char* op, bool alpha_allowed);

}  // namespace tessera::data::detail

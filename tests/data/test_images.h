#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "data/image.h"

namespace tessera::data {

/// The image that golden/make_golden.py calls formula().
inline Image formula_image(int64_t height, int64_t width, int64_t channels) {
  Image image(height, width, channels);
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t waves = (x * x * 3 + y * y * 5 + x * y + c * 71) / 7;
        const int64_t noise = ((x * 73856093 + y * 19349663 + c * 83492791) & 0xFFFFFFFF) / 8192;
        image.at(y, x)[c] = static_cast<uint8_t>((x + y) % 32 < 16 ? waves : noise);
      }
  return image;
}

/// FNV-1a, 64 bits.
inline uint64_t fnv(const std::vector<uint8_t>& bytes) {
  uint64_t h = 0xCBF29CE484222325u;
  for (const uint8_t b : bytes) h = (h ^ b) * 0x100000001B3u;
  return h;
}

inline std::span<const uint8_t> as_bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

/// An empty folder for one test, removed afterwards.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    std::string name = std::string("tessera_") + test->test_suite_name() + "_" + test->name() +
                       "_" + std::to_string(::getpid());
    for (char& c : name)
      if (c == '/') c = '_';
    path_ = std::filesystem::temp_directory_path() / name;
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Runs `call`, expects an exception of type E whose message contains every one of `parts`.
template <class E, class Call>
void expect_throw(Call&& call, std::initializer_list<std::string_view> parts) {
  try {
    call();
    ADD_FAILURE() << "no exception";
  } catch (const E& error) {
    for (const std::string_view part : parts)
      EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos)
          << "'" << part << "' is missing from: " << error.what();
  }
}

}  // namespace tessera::data

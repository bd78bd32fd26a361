// The README's program, built from the README itself, on a small part of Fashion-MNIST (or, where
// the data is not there, on drawn patterns in the same files).

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <regex>
#include <span>

#include "data/idx.h"
#include "io/atomic_file.h"
#include "io/read_file.h"
#include "tensor/generator.h"

namespace tessera::testing {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<uint8_t>;

void write_idx(const fs::path& path, const std::vector<int64_t>& shape, const Bytes& values) {
  Bytes out = {0, 0, 8, static_cast<uint8_t>(shape.size())};
  for (const int64_t size : shape)
    for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<uint8_t>(size >> shift));
  out.insert(out.end(), values.begin(), values.end());
  io::write_file_atomic(path, std::as_bytes(std::span(out)));
}

struct Part {
  const char* prefix;
  int64_t count;
};
const Part kParts[] = {{"train", 4000}, {"t10k", 500}};

void copy_part(const fs::path& from, const Part& part, const fs::path& to) {
  for (const char* kind : {"images-idx3", "labels-idx1"}) {
    const std::string name = std::string(part.prefix) + "-" + kind + "-ubyte";
    data::IdxArray array = data::read_idx(from / (name + ".gz"));
    const int64_t item = static_cast<int64_t>(array.values.size()) / array.shape[0];
    array.shape[0] = part.count;
    array.values.resize(static_cast<size_t>(part.count * item));
    write_idx(to / name, array.shape, array.values);
  }
}

// Ten classes: a bright bar at a place of its own in noise.
void draw_part(const Part& part, const fs::path& to) {
  constexpr int64_t kSide = 28;
  Bytes pixels(static_cast<size_t>(part.count * kSide * kSide)), labels;
  Generator generator(static_cast<uint64_t>(part.count));
  for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>(generator.randint(120));
  for (int64_t i = 0; i < part.count; ++i) {
    const int64_t label = generator.randint(10), shift = generator.randint(2);
    labels.push_back(static_cast<uint8_t>(label));
    for (int64_t y = 0; y < kSide; ++y)
      for (int64_t x = 0; x < kSide; ++x)
        if ((label < 5 ? y : x) / 5 == label % 5 && (x + y + shift) % 3 != 0)
          pixels[static_cast<size_t>((i * kSide + y) * kSide + x)] = 230;
  }
  const std::string prefix = part.prefix;
  write_idx(to / (prefix + "-images-idx3-ubyte"), {part.count, kSide, kSide}, pixels);
  write_idx(to / (prefix + "-labels-idx1-ubyte"), {part.count}, labels);
}

class ReadmeExample : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "readme.XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  // The last loss that the program prints; it starts at about log 10 = 2.3.
  double run() {
    const std::string command = std::string(README_EXAMPLE_PROGRAM) + " " + folder_.string();
    FILE* pipe = popen((command + " 2>&1").c_str(), "r");
    if (!pipe) throw std::runtime_error("popen failed");
    std::string text;
    for (int c; (c = std::fgetc(pipe)) != EOF;) text += static_cast<char>(c);
    EXPECT_EQ(pclose(pipe), 0) << text;
    static const std::regex pattern(R"(loss ([0-9.e+-]+))");
    double loss = 1e9;
    for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it)
      loss = std::stod((*it)[1]);
    std::printf("%s", text.c_str());
    return loss;
  }

  fs::path folder_;
};

TEST_F(ReadmeExample, LearnsDrawnPatterns) {
  for (const Part& part : kParts) draw_part(part, folder_);
  EXPECT_LT(run(), 0.3);
}

TEST_F(ReadmeExample, LearnsFashionMnist) {
  const char* data = std::getenv("TESSERA_DATA_DIR");
  const fs::path source = fs::path(data ? data : "") / "fashion-mnist";
  if (!data || !fs::exists(source)) GTEST_SKIP() << "TESSERA_DATA_DIR/fashion-mnist is not there";
  for (const Part& part : kParts) copy_part(source, part, folder_);
  EXPECT_LT(run(), 0.9);
}

TEST_F(ReadmeExample, HasAtMost25Lines) {
  const auto bytes = io::read_file(README_EXAMPLE_SOURCE);
  EXPECT_LE(std::count(bytes.begin(), bytes.end(), '\n'), 25);
}

}  // namespace
}  // namespace tessera::testing

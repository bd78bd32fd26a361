#include "data/idx.h"

#include <zlib.h>

#include "io/atomic_file.h"
#include "io/read_file.h"
#include "tests/data/test_images.h"

namespace tessera::data {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<uint8_t>;

Bytes idx(const std::vector<uint32_t>& shape, const Bytes& values) {
  Bytes out = {0, 0, 8, static_cast<uint8_t>(shape.size())};
  for (const uint32_t size : shape)
    for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<uint8_t>(size >> shift));
  out.insert(out.end(), values.begin(), values.end());
  return out;
}

void write(const fs::path& path, const Bytes& bytes) {
  io::write_file_atomic(path, std::as_bytes(std::span(bytes)));
}

void write_gz(const fs::path& path, const Bytes& bytes) {
  const gzFile file = gzopen(path.c_str(), "wb");
  ASSERT_EQ(gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())),
            static_cast<int>(bytes.size()));
  ASSERT_EQ(gzclose(file), Z_OK);
}

class IdxTest : public testing::Test {
 protected:
  TemporaryFolder folder_;
  fs::path path_ = folder_.path() / "file-ubyte";
};

TEST_F(IdxTest, ReadsPlainAndGzip) {
  const Bytes values = {1, 2, 3, 4, 5, 6};
  write(path_, idx({2, 3}, values));
  write_gz(folder_.path() / "z", idx({2, 3}, values));
  for (const fs::path& path : {path_, folder_.path() / "z"}) {
    const IdxArray array = read_idx(path);
    EXPECT_EQ(array.shape, (std::vector<int64_t>{2, 3}));
    EXPECT_EQ(array.values, values);
  }
}

TEST_F(IdxTest, EveryPrefixAndSurplusIsAnError) {
  Bytes bytes = idx({2, 3}, {1, 2, 3, 4, 5, 6});
  for (size_t n = 0; n < bytes.size(); ++n) {
    write(path_, {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n)});
    expect_throw<IoError>([&] { read_idx(path_); }, {path_.string()});
  }
  bytes.push_back(0);
  write(path_, bytes);
  expect_throw<IoError>([&] { read_idx(path_); }, {path_.string(), "more data"});
}

TEST_F(IdxTest, TruncatedAndDamagedGzip) {
  const Image noise = formula_image(60, 60, 1);
  write_gz(path_, idx({60, 60}, noise.pixels));
  const Bytes good = io::read_file(path_);
  for (const size_t cut : {size_t{1}, size_t{8}, size_t{100}, good.size() / 2, good.size() - 5}) {
    write(path_, {good.begin(), good.end() - static_cast<std::ptrdiff_t>(cut)});
    expect_throw<IoError>([&] { read_idx(path_); }, {path_.string()});
  }
  Bytes bad = good;
  bad[bad.size() / 2] ^= 0x55;
  write(path_, bad);
  expect_throw<IoError>([&] { read_idx(path_); }, {path_.string()});
}

TEST_F(IdxTest, HostileHeaders) {
  const auto fails_with = [&](const Bytes& bytes, std::string_view part) {
    write(path_, bytes);
    expect_throw<IoError>([&] { read_idx(path_); }, {path_.string(), part});
  };
  fails_with({0, 0, 9, 1, 0, 0, 0, 1, 7}, "magic");
  fails_with({1, 0, 8, 1, 0, 0, 0, 1, 7}, "magic");
  fails_with({0, 0, 8, 0}, "rank 0");
  fails_with({0, 0, 8, 5}, "rank 5");
  fails_with(idx({0, 3}, {}), "axis 0");
  fails_with(idx({0xFFFFFFFF}, {}), "axis 0");
  fails_with(idx({0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF}, {}), "axis");
  fails_with(idx({2, 0x40000001}, {}), "axis 1");
  fails_with(idx({0x7FFFFFFF}, {1, 2, 3}), "truncated");  // allocates a step, not 2 GiB
  expect_throw<IoError>([&] { read_idx(folder_.path()); }, {"not a regular file"});
  expect_throw<IoError>([&] { read_idx(folder_.path() / "no"); }, {"no such file"});
}

TEST_F(IdxTest, MnistPairsImagesWithLabels) {
  const fs::path folder = folder_.path();
  write_gz(folder / "t10k-images-idx3-ubyte.gz",
           idx({2, 2, 3}, {0, 0, 0, 0, 0, 0, 255, 0, 0, 0, 0, 51}));
  write(folder / "t10k-labels-idx1-ubyte", idx({2}, {9, 3}));
  Pipeline pipeline;
  pipeline.normalization = {{0, 0, 0}, {1, 1, 1}};
  const auto dataset = load_mnist(folder, false, pipeline);
  EXPECT_EQ(dataset->size(), 2);
  const Sample sample = dataset->get(1, Generator(1));
  EXPECT_EQ(sample.label, 3);
  EXPECT_EQ(sample.image.height, 2);
  EXPECT_EQ(sample.image.width, 3);
  EXPECT_EQ(sample.image.pixels, (std::vector<float>{1, 0, 0, 0, 0, 0.2f}));
  expect_throw<IoError>([&] { load_mnist(folder, true, pipeline); },
                        {"train-images-idx3-ubyte.gz", "no such file"});
  write(folder / "t10k-labels-idx1-ubyte", idx({3}, {9, 3, 1}));
  expect_throw<IoError>([&] { load_mnist(folder, false, pipeline); }, {"2 images", "3 labels"});
  write(folder / "t10k-labels-idx1-ubyte", idx({2}, {9, 10}));
  expect_throw<IoError>([&] { load_mnist(folder, false, pipeline); }, {"label 10", "image 1"});
}

}  // namespace
}  // namespace tessera::data

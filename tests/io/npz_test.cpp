#include "io/npz.h"

#include <gtest/gtest.h>
#include <unistd.h>
#include <zip.h>

#include <complex>
#include <cstring>
#include <fstream>
#include <limits>

#include "io/npy_header.h"
#include "io/zip_writer.h"
#include "tensor/error.h"

namespace tessera::io {
namespace {

namespace fs = std::filesystem;

class NpzTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) / cat("tessera_npz_", info->name(), "_", ::getpid());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path put(const std::string& name, std::string_view bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return folder_ / name;
  }
  static std::string get(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  fs::path folder_;
};

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

/// A .npy file with a header written by hand, so that it can be wrong.
std::string npy(const std::string& dict, std::string_view data, int major = 1) {
  std::string out = "\x93NUMPY";
  out += {static_cast<char>(major), '\0'};
  for (int i = 0; i < (major == 1 ? 2 : 4); ++i)
    out += static_cast<char>(dict.size() >> (8 * i) & 0xFF);
  return out + dict + std::string(data);
}
std::string dict(const std::string& descr, const std::string& shape,
                 const std::string& order = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
}
template <class T>
std::string raw(std::initializer_list<T> values) {
  return {reinterpret_cast<const char*>(values.begin()), values.size() * sizeof(T)};
}

/// Adds an entry with libzip, an independent writer.
void add_with_libzip(const fs::path& path, const std::string& name, const std::string& content,
                     int method, bool encrypt = false) {
  int code = 0;
  zip_t* zip = zip_open(path.c_str(), ZIP_CREATE, &code);
  ASSERT_NE(zip, nullptr) << code;
  zip_source_t* source = zip_source_buffer(zip, content.data(), content.size(), 0);
  const zip_int64_t index = zip_file_add(zip, name.c_str(), source, ZIP_FL_ENC_UTF_8);
  ASSERT_GE(index, 0) << zip_strerror(zip);
  ASSERT_EQ(zip_set_file_compression(zip, static_cast<zip_uint64_t>(index), method, 9), 0);
  if (encrypt) {
    ASSERT_EQ(zip_file_set_encryption(zip, static_cast<zip_uint64_t>(index), ZIP_EM_AES_128, "pw"),
              0);
  }
  ASSERT_EQ(zip_close(zip), 0) << zip_strerror(zip);
}

/// The message of the IoError that `run` throws.
template <class Run>
std::string io_error(Run run) {
  try {
    run();
  } catch (const IoError& error) {
    return error.what();
  }
  ADD_FAILURE() << "expected an IoError";
  return {};
}

TEST(NpyTest, ReadsEveryTypeAndConverts) {
  const auto one = [](const std::string& descr, const std::string& data) {
    return parse_npy(bytes_of(npy(dict(descr, "(2,)"), data)), "x");
  };
  const std::vector<double> small{1, -2}, positive{1, 200};
  EXPECT_EQ(one("<f2", raw<uint16_t>({0x3C00, 0xC000})).as<double>(), small);
  EXPECT_EQ(one("<f4", raw<float>({1, -2})).as<double>(), small);
  EXPECT_EQ(one("<f8", raw<double>({1, -2})).as<double>(), small);
  EXPECT_EQ(one("|i1", raw<int8_t>({1, -2})).as<double>(), small);
  EXPECT_EQ(one("<i2", raw<int16_t>({1, -2})).as<double>(), small);
  EXPECT_EQ(one("<i4", raw<int32_t>({1, -2})).as<double>(), small);
  EXPECT_EQ(one("=i8", raw<int64_t>({1, -2})).as<double>(), small);
  EXPECT_EQ(one("|u1", raw<uint8_t>({1, 200})).as<double>(), positive);
  EXPECT_EQ(one("<u2", raw<uint16_t>({1, 200})).as<double>(), positive);
  EXPECT_EQ(one("<u4", raw<uint32_t>({1, 200})).as<double>(), positive);
  EXPECT_EQ(one("<u8", raw<uint64_t>({1, 200})).as<double>(), positive);
  EXPECT_EQ(one("|b1", raw<uint8_t>({0, 7})).as<int32_t>(), (std::vector<int32_t>{0, 1}));
  EXPECT_EQ(one("|b1", raw<uint8_t>({0, 1})).dtype, "b1");
  const auto complex = one("<c8", raw<float>({1, 2, -3, 4})).as<std::complex<double>>();
  EXPECT_EQ(complex, (std::vector<std::complex<double>>{{1, 2}, {-3, 4}}));
}

TEST(NpyTest, BigEndianIsSwapped) {
  EXPECT_EQ(parse_npy(bytes_of(npy(dict(">f4", "(1,)"), {"\x3F\x80\0\0", 4})), "x").as<float>(),
            std::vector<float>{1});
  EXPECT_EQ(parse_npy(bytes_of(npy(dict(">i2", "(2,)"), {"\0\x01\xFF\xFE", 4})), "x").as<int64_t>(),
            (std::vector<int64_t>{1, -2}));
  const auto c = parse_npy(bytes_of(npy(dict(">c8", "()"), {"\x3F\x80\0\0\x40\0\0\0", 8})), "x");
  EXPECT_EQ(c.as<std::complex<float>>(), (std::vector<std::complex<float>>{{1, 2}}));
}

TEST(NpyTest, VersionsAndHeaderSpellings) {
  for (const int major : {1, 2, 3}) {
    const auto a = parse_npy(bytes_of(npy(dict("<i4", "(3,)"), raw({1, 2, 3}), major)), "x");
    EXPECT_EQ(a.as<int32_t>(), (std::vector<int32_t>{1, 2, 3}));
  }
  const auto shape_of = [](const std::string& header, std::string_view data) {
    return parse_npy(bytes_of(npy(header, data)), "x").shape;
  };
  using Shape = std::vector<int64_t>;
  EXPECT_EQ(shape_of("{\"shape\":(2L,1L),\"fortran_order\":False,\"descr\":\"|u1\"}", "ab"),
            (Shape{2, 1}));
  EXPECT_EQ(shape_of(dict("|u1", "()"), "a"), Shape{});
  EXPECT_EQ(shape_of(dict("|u1", "(0, 5)"), ""), (Shape{0, 5}));
  EXPECT_EQ(shape_of(dict("<f8", "(0, 999999999999999999, 999999999999999999)"), "").size(), 3u);
}

TEST(NpyTest, FortranOrderBecomesRowMajor) {
  // Element (i, j, k) of shape (2, 3, 4) holds 100 i + 10 j + k; stored with the first axis
  // fastest.
  std::string data;
  for (uint8_t k = 0; k < 4; ++k)
    for (uint8_t j = 0; j < 3; ++j)
      for (uint8_t i = 0; i < 2; ++i) data += static_cast<char>(100 * i + 10 * j + k);
  const auto a = parse_npy(bytes_of(npy(dict("|u1", "(2, 3, 4)", "True"), data)), "x");
  const auto v = a.as<int32_t>();
  ASSERT_EQ(v.size(), 24u);
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 4; ++k)
        EXPECT_EQ(v[static_cast<size_t>(12 * i + 4 * j + k)], 100 * i + 10 * j + k);
}

TEST(NpyTest, ConversionRefusesWhatAnIntegerCannotHold) {
  const auto from = [](double v) { return NpyArray::from<double>(std::vector<double>{v}, {}); };
  EXPECT_EQ(from(255).as<uint8_t>()[0], 255);
  EXPECT_EQ(from(-0x1p63).as<int64_t>()[0], std::numeric_limits<int64_t>::min());
  for (const double v : {256.0, -1.0, 0.5, std::nan("")})
    EXPECT_THROW(from(v).as<uint8_t>(), ValueError);
  EXPECT_THROW(from(0x1p63).as<int64_t>(), ValueError);
  EXPECT_THROW(NpyArray::from<int64_t>(std::vector<int64_t>{-1}, {1}).as<uint64_t>(), ValueError);
  EXPECT_THROW(
      NpyArray::from<std::complex<float>>(std::vector<std::complex<float>>{1.0f}, {1}).as<float>(),
      DTypeError);
  EXPECT_THROW((NpyArray{"f4", {2}, std::vector<std::byte>(4)}.as<float>()), ShapeError);
  EXPECT_THROW(NpyArray::from<float>(std::vector<float>(3), {2, 2}), ShapeError);
}

TEST(NpyTest, WriterMakesAlignedHeadersThatReadBack) {
  const std::vector<float> values{1, 2, 3, 4, 5, 6};
  for (const std::vector<int64_t>& shape :
       std::vector<std::vector<int64_t>>{{6}, {2, 3}, {1, 2, 3}}) {
    const NpyArray a = NpyArray::from<float>(values, shape);
    const std::string text = to_npy(a);
    EXPECT_EQ((text.size() - a.bytes.size()) % 64, 0u);
    EXPECT_EQ(parse_npy(bytes_of(text), "x"), a);
  }
  EXPECT_NE(to_npy(NpyArray::from<float>(values, {6}))
                .find("{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }"),
            std::string::npos);
  const NpyArray scalar = NpyArray::from<int8_t>(std::vector<int8_t>{-5}, {});
  EXPECT_EQ(parse_npy(bytes_of(to_npy(scalar)), "x"), scalar);
  EXPECT_THROW(to_npy({"f4", {2}, {}}), ShapeError);
  EXPECT_THROW(to_npy({"O", {}, {}}), DTypeError);
}

TEST(NpyTest, RefusesBadHeaders) {
  const std::vector<std::string> bad{
      dict("|O", "(1,)"),
      dict("<U4", "(1,)"),
      dict("|S4", "(1,)"),
      dict("f4", "(1,)"),
      dict("|f4", "(1,)"),
      dict("", "(1,)"),
      dict("<f4", "(1)"),
      dict("<f4", "[1]"),
      dict("<f4", "(-1,)"),
      dict("<f4", "(1 1)"),
      dict("<f4", "(1,,)"),
      dict("<f4", "(,)"),
      dict("<f4", "(1,"),
      dict("<f4", "(1,)", "Maybe"),
      dict("<f4", "(1,)", "1"),
      dict("<f4", "(4611686018427387904,)"),
      dict("<f4", "(4000000000, 4000000000)"),
      dict("<f4", "(99999999999999999999,)"),
      dict("<f4", "(0x1,)"),
      dict("<f4", "(1.0,)"),
      dict("<f4", "(1,)") + "x",
      "",
      "{",
      "{}",
      "[]",
      "{'descr': '<f4'}",
      "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}",
      "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
      "{'descr': '<f4' 'fortran_order': False, 'shape': (1,)}",
      "{'descr': '<f4', 'fortran_order': __import__('os'), 'shape': (1,)}"};
  for (const std::string& header : bad)
    EXPECT_EQ(
        io_error([&] { parse_npy(bytes_of(npy(header, "abcd")), "some.npy"); }).find("some.npy"),
        0u)
        << header;
  std::string many = "(";
  for (int i = 0; i < 65; ++i) many += "1, ";
  EXPECT_THROW(parse_npy(bytes_of(npy(dict("<f4", many + ")"), "abcd")), "x"), IoError);
  EXPECT_THROW(parse_npy(bytes_of(npy(dict("<f4", "(1,)"), "abcd", 4)), "x"), IoError);
  EXPECT_THROW(
      parse_npy(bytes_of(npy(dict("<f4", "(1,)") + std::string(70000, ' '), "abcd", 2)), "x"),
      IoError);
}

TEST(NpyTest, EveryTruncationAndEveryExtraByteThrows) {
  const std::string good = to_npy(NpyArray::from<float>(std::vector<float>{1, 2, 3}, {3}));
  for (size_t n = 0; n < good.size(); ++n)
    EXPECT_THROW(parse_npy(bytes_of(std::string_view(good).substr(0, n)), "x"), IoError) << n;
  EXPECT_THROW(parse_npy(bytes_of(good + "x"), "x"), IoError);
}

TEST(NpyTest, AnyCorruptByteIsAnErrorOrAConsistentArray) {
  const std::string good = to_npy(NpyArray::from<float>(std::vector<float>{1, 2, 3, 4}, {2, 2}));
  int refused = 0;
  for (size_t at = 0; at < good.size() - 16; ++at) {
    for (int value = 0; value < 256; ++value) {
      std::string bad = good;
      bad[at] = static_cast<char>(value);
      try {
        const NpyArray a = parse_npy(bytes_of(bad), "x");
        ASSERT_EQ(static_cast<uint64_t>(a.numel() * a.item_size()), a.bytes.size());
      } catch (const IoError&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 10000);
}

TEST_F(NpzTest, NpyFileRoundTrip) {
  const NpyArray a = NpyArray::from<int64_t>(std::vector<int64_t>{1, -2, 3}, {3, 1});
  write_npy(folder_ / "a.npy", a);
  EXPECT_EQ(read_npy(folder_ / "a.npy"), a);
  EXPECT_NE(io_error([&] { read_npy(folder_ / "none.npy"); }).find("none.npy"), std::string::npos);
  EXPECT_THROW(read_npy(folder_), IoError);
  EXPECT_THROW(read_npy(folder_ / "a.npy", {.max_array_bytes = 100}), IoError);
}

std::map<std::string, NpyArray> two_arrays() {
  return {{"layer.weight", NpyArray::from<float>(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3})},
          {"step", NpyArray::from<int64_t>(std::vector<int64_t>{7}, {})}};
}

TEST_F(NpzTest, RoundTripIsDeterministicAndReplacesTheOldFile) {
  const fs::path path = put("a.npz", "old content");
  write_npz(path, two_arrays());
  EXPECT_EQ(read_npz(path), two_arrays());
  const std::string first = get(path);
  write_npz(path, two_arrays());
  EXPECT_EQ(get(path), first);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);  // no temporary file left
  write_npz(path, {});
  EXPECT_TRUE(read_npz(path).empty());
}

TEST_F(NpzTest, AFailedWriteKeepsTheOldFile) {
  const fs::path path = put("a.npz", "old content");
  EXPECT_THROW(write_npz(path, {{"a", {"f4", {3}, {}}}}), ShapeError);
  EXPECT_THROW(write_npz(path, {{"", two_arrays().at("step")}}), ValueError);
  EXPECT_EQ(get(path), "old content");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

TEST_F(NpzTest, ReadsStoredAndDeflatedEntriesOfAnotherWriter) {
  const fs::path path = folder_ / "a.npz";
  const NpyArray big = NpyArray::from<float>(std::vector<float>(700000, 0.25f), {700, 1000});
  add_with_libzip(path, "big.npy", to_npy(big), ZIP_CM_DEFLATE);
  add_with_libzip(path, "dir/s.npy", to_npy(two_arrays().at("step")), ZIP_CM_STORE);
  const auto arrays = read_npz(path);
  ASSERT_EQ(arrays.size(), 2u);
  EXPECT_EQ(arrays.at("big"), big);
  EXPECT_EQ(arrays.at("dir/s").as<int64_t>()[0], 7);
}

TEST_F(NpzTest, LibzipReadsWhatWeWrite) {
  const fs::path path = folder_ / "a.npz";
  write_npz(path, two_arrays());
  int code = 0;
  zip_t* zip = zip_open(path.c_str(), ZIP_RDONLY | ZIP_CHECKCONS, &code);
  ASSERT_NE(zip, nullptr) << code;
  EXPECT_EQ(zip_get_num_entries(zip, 0), 2);
  EXPECT_STREQ(zip_get_name(zip, 0, 0), "layer.weight.npy");
  zip_discard(zip);
}

TEST_F(NpzTest, Zip64RecordsAreReadBack) {
  const fs::path path = folder_ / "a.npz";
  const auto arrays = two_arrays();
  AtomicFile file(path);
  StoredZipWriter zip(file, 150);  // the first entry is larger, the second lies behind it
  for (const auto& [name, array] : arrays) {
    const std::string content = to_npy(array);
    zip.add(name + ".npy", {bytes_of(content)});
  }
  zip.finish();
  file.commit();
  const std::string bytes = get(path);
  EXPECT_NE(bytes.find("PK\x06\x06"), std::string::npos);
  EXPECT_NE(bytes.find("PK\x06\x07"), std::string::npos);
  EXPECT_EQ(read_npz(path), arrays);
}

TEST_F(NpzTest, MoreEntriesThanTheShortCountHolds) {
  const fs::path path = folder_ / "many.npz";
  const NpyArray one = NpyArray::from<uint8_t>(std::vector<uint8_t>{1}, {});
  const std::string content = to_npy(one);
  AtomicFile file(path);
  StoredZipWriter zip(file);
  constexpr int kCount = 65536;
  for (int i = 0; i < kCount; ++i) zip.add(cat(i, ".npy"), {bytes_of(content)});
  zip.finish();
  file.commit();
  EXPECT_EQ(read_npz(path).size(), size_t{kCount});
  EXPECT_THROW(read_npz(path, {.max_entries = kCount - 1}), IoError);
}

TEST_F(NpzTest, RefusesBadEntriesByName) {
  const std::string good = to_npy(two_arrays().at("step"));
  const auto message = [&](const std::string& entry, const std::string& content, bool encrypt) {
    const fs::path path = folder_ / "bad.npz";
    fs::remove(path);
    add_with_libzip(path, entry, content, ZIP_CM_STORE, encrypt);
    return io_error([&] { read_npz(path); });
  };
  for (const std::string& text : {message("readme.txt", good, false), message(".npy", good, false),
                                  message("a.npy", "not an array", false),
                                  message("a.npy", good + "x", false), message("a.npy", "", false)})
    EXPECT_NE(text.find("bad.npz entry '"), std::string::npos) << text;
  if (zip_encryption_method_supported(ZIP_EM_AES_128, 1)) {
    EXPECT_NE(message("a.npy", good, true).find("encrypted"), std::string::npos);
  }
}

TEST_F(NpzTest, RefusesARepeatedName) {
  const fs::path path = folder_ / "twice.npz";
  const std::string content = to_npy(two_arrays().at("step"));
  AtomicFile file(path);
  StoredZipWriter zip(file);
  for (int i = 0; i < 2; ++i) zip.add("a.npy", {bytes_of(content)});
  zip.finish();
  file.commit();
  EXPECT_THROW(read_npz(path), IoError);
}

TEST_F(NpzTest, ZipBombsStopAtTheLimits) {
  const fs::path path = folder_ / "bomb.npz";
  const NpyArray zeros = NpyArray::from<uint8_t>(std::vector<uint8_t>(8 << 20, 0), {8 << 20});
  add_with_libzip(path, "a.npy", to_npy(zeros), ZIP_CM_DEFLATE);
  add_with_libzip(path, "b.npy", to_npy(zeros), ZIP_CM_DEFLATE);
  ASSERT_LT(fs::file_size(path), 100000u);
  EXPECT_NE(io_error([&] { read_npz(path, {.max_array_bytes = 1 << 20}); }).find("entry 'a.npy'"),
            std::string::npos);
  EXPECT_NE(io_error([&] { read_npz(path, {.max_total_bytes = 12 << 20}); }).find("entry 'b.npy'"),
            std::string::npos);
  EXPECT_EQ(read_npz(path).size(), 2u);
}

TEST_F(NpzTest, TwoGibibytesUnlessMoreAreAllowed) {
  const fs::path path = folder_ / "large.npz";
  write_npz(path, {{"a", NpyArray::from<uint8_t>(std::vector<uint8_t>(16, 7), {16})}});
  std::string bytes = get(path);
  const uint32_t claimed = (1u << 31) + 1;
  std::memcpy(bytes.data() + bytes.find("PK\x01\x02") + 24, &claimed, 4);  // uncompressed size
  put("large.npz", bytes);
  const auto limits = [](uint64_t most) {
    return NpyLimits{.max_array_bytes = most, .max_total_bytes = most};
  };
  EXPECT_NE(io_error([&] { read_npz(path); }).find("limit of 2147483648"), std::string::npos);
  EXPECT_NE(io_error([&] { read_npz(path, limits(uint64_t{1} << 32)); }).find("cannot hold"),
            std::string::npos);
}

// A bomb without deflate: every name points at the same bytes.
TEST_F(NpzTest, EntriesThatShareTheirBytesAreRefused) {
  const fs::path path = folder_ / "shared.npz";
  const NpyArray array = NpyArray::from<uint8_t>(std::vector<uint8_t>(4096, 7), {4096});
  write_npz(path, {{"a", array}, {"b", array}});
  std::string bytes = get(path);
  const size_t second = bytes.find("PK\x03\x04", 4), directory = bytes.find("PK\x01\x02");
  const size_t other = bytes.find("PK\x01\x02", directory + 4), end = bytes.find("PK\x05\x06");
  ASSERT_NE(end, std::string::npos);
  const auto set = [&](size_t at, size_t value) {
    const auto v = static_cast<uint32_t>(value);
    std::memcpy(bytes.data() + at, &v, 4);
  };
  set(other + 42, 0);     // the second entry starts where the first one does
  set(end + 16, second);  // the directory moves up
  bytes.erase(second, directory - second);
  put("shared.npz", bytes);
  EXPECT_NE(io_error([&] { read_npz(path); }).find("entries overlap"), std::string::npos);
}

TEST_F(NpzTest, ADirectoryThatLiesAboutSizesIsRefused) {
  const fs::path path = folder_ / "lie.npz";
  const NpyArray zeros = NpyArray::from<uint8_t>(std::vector<uint8_t>(4096, 0), {4096});
  add_with_libzip(path, "a.npy", to_npy(zeros), ZIP_CM_DEFLATE);
  const std::string good = get(path);
  const size_t directory = good.find("PK\x01\x02");
  ASSERT_NE(directory, std::string::npos);
  for (const uint32_t claim : {0u, 100u, 4223u, 4225u, 100000u, 0xFFFFFFF0u}) {
    std::string bad = good;
    std::memcpy(bad.data() + directory + 24, &claim, 4);  // uncompressed size
    put("lie.npz", bad);
    EXPECT_THROW(read_npz(path), IoError) << claim;
  }
}

TEST_F(NpzTest, EveryTruncationThrows) {
  write_npz(folder_ / "a.npz", two_arrays());
  const std::string good = get(folder_ / "a.npz");
  for (size_t n = 0; n < good.size(); ++n) {
    const fs::path path = put("cut.npz", good.substr(0, n));
    EXPECT_THROW(read_npz(path), IoError) << n;
  }
}

TEST_F(NpzTest, AnyCorruptByteIsAnErrorOrTheSameData) {
  for (const int method : {ZIP_CM_STORE, ZIP_CM_DEFLATE}) {
    const fs::path source = folder_ / cat(method, ".npz");
    const NpyArray a = NpyArray::from<float>(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3});
    add_with_libzip(source, "a.npy", to_npy(a), method);
    const std::string good = get(source);
    int refused = 0;
    for (size_t at = 0; at < good.size(); ++at) {
      for (const int flip : {0x01, 0xFF}) {
        std::string bad = good;
        bad[at] = static_cast<char>(bad[at] ^ flip);
        const fs::path path = put("bad.npz", bad);
        try {
          for (const auto& [name, array] : read_npz(path)) EXPECT_EQ(array, a) << at;
        } catch (const IoError&) {
          ++refused;
        }
      }
    }
    EXPECT_GT(refused, 2 * 128);  // at least every byte under the checksum
  }
}

}  // namespace
}  // namespace tessera::io

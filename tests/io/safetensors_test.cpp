#include "io/safetensors.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <limits>

#include "io/read_file.h"
#include "tensor/view.h"

namespace tessera::io {
namespace {

namespace fs = std::filesystem;
using Named = std::vector<std::pair<std::string, Tensor>>;

class SafetensorsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() /
              cat("tessera_safetensors_", ::getpid(), "_",
                  ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

constexpr std::pair<const char*, DType> kDTypes[] = {
    {"f32", DType::f32}, {"f64", DType::f64}, {"f16", DType::f16}, {"bf16", DType::bf16},
    {"i64", DType::i64}, {"i32", DType::i32}, {"u8", DType::u8},   {"bool", DType::boolean}};

// The values that golden/make_safetensors.py names.
std::vector<double> expected_values(const std::string& name, DType dtype) {
  std::vector<double> v;
  for (int i = 0; i < 6; ++i)
    v.push_back(name == "u8"         ? i
                : name == "bool"     ? i % 2
                : is_floating(dtype) ? (i - 2) * 1.5
                                     : i - 2);
  return v;
}

Named every_dtype() {
  Named out{{"scalar", full({}, 2.5)}, {"empty", zeros({0, 3})}};
  for (const auto& [name, dtype] : kDTypes) {
    Tensor t = empty({2, 3}, dtype);
    copy_(t, from_vector(expected_values(name, dtype), {2, 3}));
    out.emplace_back(name, t);
  }
  return out;
}

void expect_every_dtype(const Safetensors& file) {
  EXPECT_EQ(file.tensors.size(), std::size(kDTypes) + 2);
  for (const auto& [name, dtype] : kDTypes) {
    const Tensor t = file.find(name);
    ASSERT_TRUE(t.defined()) << name;
    EXPECT_EQ(t.dtype(), dtype) << name;
    EXPECT_EQ(t.shape(), Shape({2, 3})) << name;
    EXPECT_EQ(t.to_vector<double>(), expected_values(name, dtype)) << name;
  }
  EXPECT_EQ(file.find("scalar").item(), 2.5);
  EXPECT_EQ(file.find("scalar").rank(), 0);
  EXPECT_EQ(file.find("empty").shape(), Shape({0, 3}));
  EXPECT_FALSE(file.find("none").defined());
}

TEST_F(SafetensorsTest, RoundTripOfEveryDType) {
  const fs::path path = folder_ / "all.safetensors";
  write_safetensors(path, every_dtype(), {{"key", "va\"lue\n\xc3\xa4"}, {"", "empty"}});
  const Safetensors file = read_safetensors(path);
  expect_every_dtype(file);
  EXPECT_EQ(file.tensors[0].first, "scalar");  // the order is kept
  EXPECT_EQ(file.metadata.at("key"), "va\"lue\n\xc3\xa4");
  EXPECT_EQ(file.metadata.at(""), "empty");
}

TEST_F(SafetensorsTest, ReadsTheReferenceImplementationsFile) {
  const Safetensors file =
      read_safetensors(TESSERA_SOURCE_DIR "/tests/io/golden/torch.safetensors");
  expect_every_dtype(file);
  EXPECT_EQ(file.metadata.at("made by"), "safetensors");
  EXPECT_EQ(file.metadata.at("unit"), "\xc3\xa4");
}

// Header and data byte for byte, so that the writer cannot drift together with the reader.
TEST_F(SafetensorsTest, ReadsOneTensorAtATime) {
  const Named named = every_dtype();
  write_safetensors(folder_ / "a", named, {{"key", "value"}});
  const SafetensorsFile file(folder_ / "a");
  EXPECT_EQ(file.metadata().at("key"), "value");
  ASSERT_EQ(file.entries().size(), named.size());
  for (size_t i = named.size(); i-- > 0;) {  // in any order
    const SafetensorsFile::Entry& e = file.entries()[i];
    EXPECT_EQ(e.name, named[i].first);
    EXPECT_EQ(file.read(e).to_vector<double>(), named[i].second.to_vector<double>()) << e.name;
    Tensor into = zeros(e.shape, e.dtype);
    const uint32_t version = into.version();
    file.read_into(e, into);
    EXPECT_EQ(into.to_vector<double>(), named[i].second.to_vector<double>()) << e.name;
    EXPECT_GT(into.version(), version);
  }
  const SafetensorsFile::Entry& f32 = file.entries()[2];
  Tensor shape = zeros({3, 2}), dtype = zeros({2, 3}, DType::f64),
         strided = view::permute(zeros({3, 2}), {1, 0});
  for (Tensor* wrong : {&shape, &dtype, &strided})
    EXPECT_THROW(file.read_into(f32, *wrong), ValueError);
  fs::resize_file(folder_ / "a", fs::file_size(folder_ / "a") - 1);
  EXPECT_THROW(file.read(file.entries().back()), IoError);
}

TEST_F(SafetensorsTest, BytesOnDisk) {
  const fs::path path = folder_ / "small.safetensors";
  write_safetensors(path, {{"a", from_vector<float>({1, -2})}, {"b", ones({1}, DType::u8)}},
                    {{"k", "v"}});
  const std::vector<uint8_t> bytes = read_file(path);
  std::string header =
      R"({"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"U8","shape":[1],"data_offsets":[8,9]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string expected(8, '\0');
  expected[0] = static_cast<char>(header.size());
  expected += header;
  expected += std::string("\0\0\x80\x3f\0\0\0\xc0\x01", 9);
  EXPECT_EQ(std::string(bytes.begin(), bytes.end()), expected);
}

TEST_F(SafetensorsTest, WritesViewsAndSpecialValues) {
  const fs::path path = folder_ / "view.safetensors";
  const Tensor x = view::reshape(arange(6, DType::f32), {2, 3});
  const Tensor odd = from_vector<double>({-0.0, 1e-320, std::numeric_limits<double>::quiet_NaN()});
  write_safetensors(path, {{"t", view::transpose(x, 0, 1)}, {"odd", odd}});
  const Safetensors file = read_safetensors(path);
  EXPECT_EQ(file.find("t").shape(), Shape({3, 2}));
  EXPECT_EQ(file.find("t").to_vector<double>(), (std::vector<double>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(std::memcmp(file.find("odd").raw_data(), odd.raw_data(), 24), 0);
}

TEST_F(SafetensorsTest, WriterChecksNamesAndKeepsTheOldFile) {
  const fs::path path = folder_ / "kept.safetensors";
  write_safetensors(path, {{"a", ones({1})}});
  EXPECT_THROW(write_safetensors(path, {{"a", ones({1})}, {"a", ones({1})}}), ValueError);
  EXPECT_THROW(write_safetensors(path, {{"__metadata__", ones({1})}}), ValueError);
  EXPECT_EQ(read_safetensors(path).tensors.size(), 1u);
  EXPECT_THROW(write_safetensors(folder_ / "no" / "x", {}), IoError);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);  // no temporary files
}

TEST_F(SafetensorsTest, WriterRefusesWhatCannotBeReadBack) {
  const fs::path path = folder_ / "x.safetensors";
  // Replacement characters would make these two names one.
  EXPECT_THROW(write_safetensors(path, {{"\xff", ones({1})}, {"\xfe", ones({1})}}), ValueError);
  EXPECT_THROW(write_safetensors(path, {}, {{"key", "\xff"}}), ValueError);
  EXPECT_THROW(write_safetensors(path, {{"a", Tensor()}}), ValueError);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 0);
}

TEST_F(SafetensorsTest, EmptyFileAndMissingFile) {
  const fs::path path = folder_ / "none.safetensors";
  EXPECT_THROW(read_safetensors(path), IoError);
  write_safetensors(path, {});
  EXPECT_TRUE(read_safetensors(path).tensors.empty());
  std::ofstream(path, std::ios::trunc).close();
  EXPECT_THROW(read_safetensors(path), IoError);
  EXPECT_THROW(read_safetensors(folder_), IoError);
}

std::string file_of(const std::string& header, const std::string& data, int64_t lie = 0) {
  const uint64_t length = header.size() + static_cast<uint64_t>(lie);
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out + header + data;
}

Safetensors parse(const std::string& bytes) {
  return parse_safetensors(std::as_bytes(std::span(bytes)), "test.safetensors");
}

std::string error_of(const std::string& bytes) {
  try {
    parse(bytes);
  } catch (const IoError& e) {
    return e.what();
  }
  return "no IoError";
}

// IoError that begins with the file's name and holds `part`.
void expect_refused(const std::string& header, const std::string& data, const std::string& part,
                    int64_t lie = 0) {
  const std::string text = error_of(file_of(header, data, lie));
  EXPECT_TRUE(text.starts_with("test.safetensors: ")) << text << "\nfor " << header.substr(0, 200);
  EXPECT_NE(text.find(part), std::string::npos) << text << "\nfor " << header.substr(0, 200);
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}
std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"a":)" + entry(dtype, shape, offsets) + "}";
}

const std::string kEight(8, 'x');

TEST(SafetensorsHostile, TheBaseCaseIsGood) {
  EXPECT_EQ(parse(file_of(one(R"("F32")", "[2]", "[0,8]"), kEight)).tensors.size(), 1u);
  EXPECT_EQ(parse(file_of("{}", "")).tensors.size(), 0u);
  EXPECT_EQ(parse(file_of("{}   \n", "")).tensors.size(), 0u);
}

TEST_F(SafetensorsTest, TruncatedAnywhere) {
  const fs::path path = folder_ / "t.safetensors";
  write_safetensors(path, every_dtype(), {{"key", "value"}});
  const std::vector<uint8_t> bytes = read_file(path);
  for (size_t n = 0; n < bytes.size(); ++n) {
    const std::string part(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
    ASSERT_TRUE(error_of(part).starts_with("test.safetensors: ")) << n << " bytes";
  }
  EXPECT_EQ(error_of(std::string(bytes.begin(), bytes.end()) + "x").find("no IoError"),
            std::string::npos);
}

TEST(SafetensorsHostile, HeaderLengthLies) {
  const std::string good = one(R"("F32")", "[2]", "[0,8]");
  for (int64_t lie : {1, -1, 8, 9, 1000}) expect_refused(good, kEight, "", lie);
  expect_refused(good, kEight, "header of", int64_t{1} << 40);
  expect_refused(good, kEight, "header of", -static_cast<int64_t>(good.size()) - 1);  // 2^64 - 1
  expect_refused("", kEight, "", 0);
}

TEST(SafetensorsHostile, HeaderIsNotADescription) {
  for (const char* header : {"", "null", "[]", "3", "\"a\"", "{", "{}x", "{\"a\"}", "{\"a\":1,}",
                             "{'a':1}", "\xff\xfe", "{\"a\":NaN}"})
    expect_refused(header, "", "header");
  for (const char* value :
       {"1", "[]", "null", "\"x\"", "{}", R"({"dtype":"F32"})", R"({"dtype":"F32","shape":[2]})"})
    expect_refused(cat("{\"a\":", value, "}"), kEight, "needs dtype, shape and data_offsets");
  expect_refused(R"({"__metadata__":[]})", "", "__metadata__");
  expect_refused(R"({"__metadata__":{"a":1}})", "", "is not a string");
}

TEST(SafetensorsHostile, DTypes) {
  for (const char* dtype : {R"("F31")", R"("f32")", R"("")", "1", "null", "[]", R"("F32 ")",
                            R"("I8")", R"("C64")", R"("F8_E4M3")"})
    expect_refused(one(dtype, "[2]", "[0,8]"), kEight, "unsupported dtype");
}

TEST(SafetensorsHostile, Shapes) {
  for (const char* shape :
       {"[-1]", "[1.5]", "[\"2\"]", "[null]", "2", "{}", "null", "[[2]]", "[1e3]",
        "[4611686018427387904]", "[18446744073709551615]", "[1,1,1,1,1,1,1,1,2]"})
    expect_refused(one(R"("F32")", shape, "[0,8]"), kEight, "'a'");
  for (const char* shape :
       {"[1]", "[3]", "[]", "[2,2]", "[1152921504606846976]", "[1152921504606846976,16]",
        "[4294967296,4294967296]", "[2147483648,2147483648,4]"})
    expect_refused(one(R"("F32")", shape, "[0,8]"), kEight, "does not fill");
  // Empty, but its strides would overflow.
  for (const char* shape :
       {"[1152921504606846976,1152921504606846976,0]", "[0,4611686018427387903,4]"})
    expect_refused(one(R"("F32")", shape, "[0,0]"), "", "does not fill");
}

TEST(SafetensorsHostile, Offsets) {
  for (const char* offsets :
       {"[0]", "[0,8,8]", "8", "null", "[-8,0]", "[0.0,8]", "[\"0\",8]", "[8,0]", "[8,8]", "[0,7]",
        "[0,9]", "[4,12]", "[1,9]", "[18446744073709551608,18446744073709551615]",
        "[4611686018427387904,4611686018427387912]", "[100,108]"})
    expect_refused(one(R"("F32")", "[2]", offsets), kEight, "");
  const auto two = [](const char* first, const char* second) {
    return cat("{\"a\":", entry(R"("U8")", "[4]", first),
               ",\"b\":", entry(R"("U8")", "[4]", second), "}");
  };
  EXPECT_EQ(parse(file_of(two("[4,8]", "[0,4]"), kEight)).tensors.size(), 2u);
  expect_refused(two("[0,4]", "[0,4]"), kEight, "starts at byte");  // overlap
  expect_refused(two("[0,4]", "[3,7]"), kEight, "starts at byte");
  expect_refused(two("[0,4]", "[5,9]"), kEight + "x", "starts at byte");  // gap
  expect_refused(two("[0,4]", "[4,8]"), kEight + "x", "the file holds 9");
  expect_refused(two("[0,4]", "[4,8]"), "1234567", "the file holds 7");
}

TEST(SafetensorsHostile, DuplicateNames) {
  const std::string a = entry(R"("U8")", "[8]", "[0,8]"), b = entry(R"("U8")", "[0]", "[8,8]");
  expect_refused("{\"a\":" + a + ",\"a\":" + b + "}", kEight, "twice");
  expect_refused("{\"a\":" + a + ",\"\\u0061\":" + b + "}", kEight, "twice");
  expect_refused("{\"a\":" + a + ",\"__metadata__\":{},\"__metadata__\":{}}", kEight, "twice");
}

TEST(SafetensorsHostile, BooleansAreZeroOrOne) {
  const Tensor t =
      parse(file_of(one(R"("BOOL")", "[4]", "[0,4]"), std::string("\0\1\2\xff", 4))).find("a");
  EXPECT_EQ(std::memcmp(t.raw_data(), "\0\1\1\1", 4), 0);
}

TEST(SafetensorsHostile, MessagesStayShort) {
  const std::string huge(1 << 20, 'n');
  for (const std::string& header : {one("\"" + huge + "\"", "[2]", "[0,8]"), "{\"" + huge + "\":1}",
                                    R"({"__metadata__":{")" + huge + R"(":1}})"}) {
    const std::string text = error_of(file_of(header, kEight));
    EXPECT_LT(text.size(), 1000u);
    EXPECT_TRUE(text.starts_with("test.safetensors: "));
  }
}

// A search for each name through those before it would take minutes.
TEST(SafetensorsHostile, ManyNames) {
  std::string header = "{";
  constexpr size_t kNames = 200'000;
  for (size_t i = 0; i < kNames; ++i)
    header += cat(i ? "," : "", "\"", i, "\":", entry(R"("U8")", "[0]", "[0,0]"));
  const std::clock_t start = std::clock();  // of the processor: others do not count
  const Safetensors file = parse(file_of(header + "}", ""));
  EXPECT_LT(std::clock() - start, 30 * CLOCKS_PER_SEC);
  ASSERT_EQ(file.tensors.size(), kNames);
  EXPECT_EQ(file.tensors[123456].first, "123456");
}

int64_t peak_kilobytes() {
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

// Neither the stack nor the memory may follow what a header claims.
TEST(SafetensorsHostile, DeepNestingAndHugeClaimsCostNothing) {
  const int64_t before = peak_kilobytes();
  constexpr size_t kDeep = 1'000'000;
  for (const auto& [open, close] : {std::pair("[", "]"), std::pair("{\"a\":", "}")}) {
    std::string deep = "{\"a\":";
    for (size_t i = 0; i < kDeep; ++i) deep += open;
    expect_refused(deep, "", "header");
    deep += "1";
    for (size_t i = 0; i < kDeep; ++i) deep += close;
    expect_refused(deep + "}", "", "header");
  }
  expect_refused(one(R"("F64")", "[100000000000]", "[0,800000000000]"), kEight, "");
  expect_refused(one(R"("U8")", "[4611686018427387903]", "[0,4611686018427387903]"), kEight, "");
  // The claims are of 800 GB and more; a sanitizer keeps some hundred MB of what was freed.
  EXPECT_LT(peak_kilobytes() - before, 1'000'000);
}

// A file may be large at no cost (here 64 GB of holes): its header is read first.
TEST_F(SafetensorsTest, AHugeFileWithABadHeaderIsNotRead) {
  const fs::path path = folder_ / "holes.safetensors";
  const std::string start = file_of(one(R"("U8")", "[8]", "[0,8]"), kEight);
  std::ofstream(path, std::ios::binary) << start;
  std::error_code error;
  fs::resize_file(path, uint64_t{1} << 36, error);
  if (error) GTEST_SKIP() << "no sparse files here: " << error.message();
  const int64_t before = peak_kilobytes();
  EXPECT_THROW(read_safetensors(path), IoError);
  EXPECT_LT(peak_kilobytes() - before, 100'000);
}

}  // namespace
}  // namespace tessera::io

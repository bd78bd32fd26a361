#include "tests/golden/files.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <utility>

#include "io/npz.h"
#include "tensor/error.h"

namespace tessera::golden {
namespace {

namespace fs = std::filesystem;

fs::path folder_of(const char* variable, const char* beside) {
  const char* set = std::getenv(variable);
  const fs::path path =
      set != nullptr ? fs::path(set) : fs::path(TESSERA_SOURCE_DIR) / ".." / beside;
  return (path / ".").lexically_normal().parent_path();  // without a slash at the end
}

class FunctionTest : public ::testing::Test {
 public:
  explicit FunctionTest(std::function<void()> body) : body_(std::move(body)) {}
  void TestBody() override {
    try {
      body_();
    } catch (const std::exception& e) {
      const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
      ADD_FAILURE() << info->name() << ": threw: " << e.what();
    }
  }

 private:
  std::function<void()> body_;
};

}  // namespace

Device test_device() {
  static const Device device = [] {
    const char* text = std::getenv("TESSERA_TEST_DEVICE");
    return text && *text ? parse_device(text) : kCpu;
  }();
  return device;
}

fs::path golden_dir() { return folder_of("TESSERA_GOLDEN_DIR", "shared/golden"); }
fs::path data_dir() { return folder_of("TESSERA_DATA_DIR", "shared/data"); }

Json read_json(const fs::path& path) {
  std::ifstream in(path);
  TESSERA_CHECK(IoError, in, path.string(), ": cannot be opened");
  try {
    return Json::parse(in);
  } catch (const Json::exception& e) {
    throw IoError(cat(path.string(), ": ", e.what()));
  }
}

std::map<std::string, Reference> read_arrays(const fs::path& path) {
  std::map<std::string, Reference> out;
  for (const auto& [name, array] : io::read_npz(path))
    out[name] = {array.shape, array.as<double>()};
  return out;
}

void add_test(const std::string& suite, const std::string& name, std::function<void()> body) {
  ::testing::RegisterTest(
      suite.c_str(), name.c_str(), nullptr, nullptr, __FILE__, __LINE__,
      [body = std::move(body)]() -> ::testing::Test* { return new FunctionTest(body); });
}

bool add_suite(const std::string& suite, const fs::path& folder,
               const std::function<void(const fs::path&)>& list) {
  if (!fs::exists(folder)) {
    // Without any golden results a single test says so.
    const bool nothing = !fs::exists(golden_dir()) && folder.parent_path() == golden_dir();
    static bool said = false;
    if (nothing && std::exchange(said, true)) return true;
    const fs::path missing = nothing ? golden_dir() : folder;
    add_test(nothing ? "Golden" : suite, "folder", [missing] {
      GTEST_SKIP() << "nothing at " << missing.string()
                   << " (TESSERA_GOLDEN_DIR and TESSERA_DATA_DIR name the folders)";
    });
    return true;
  }
  try {
    list(folder);
  } catch (const std::exception& e) {
    add_test(suite, "listing", [what = std::string(e.what())] { ADD_FAILURE() << what; });
  }
  return true;
}

}  // namespace tessera::golden

// `tessera devices` and --device, with a plug-in that is missing, switched off, of something else,
// or the emulator.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>

#include "tests/apps/program.h"

namespace tessera::testing {
namespace {

using nlohmann::json;

// TESSERA_CUDA_PLUGIN while this lives.
class Plugin {
 public:
  explicit Plugin(const std::string& value) {
    if (const char* text = std::getenv(kName)) before_ = text;
    ::setenv(kName, value.c_str(), 1);
  }
  ~Plugin() {
    if (before_)
      ::setenv(kName, before_->c_str(), 1);
    else
      ::unsetenv(kName);
  }
  Plugin(const Plugin&) = delete;
  Plugin& operator=(const Plugin&) = delete;

 private:
  static constexpr const char* kName = "TESSERA_CUDA_PLUGIN";
  std::optional<std::string> before_;
};

json devices() {
  const Outcome run = run_program("tessera", {"devices", "--json"});
  EXPECT_EQ(run.code, 0) << run.err;
  return json::parse(run.out);
}

void expect_unavailable(const std::string& plugin, const std::string& reason) {
  const Plugin set(plugin);
  const json found = devices();
  ASSERT_EQ(found["devices"].size(), 1u) << found;
  EXPECT_EQ(found["devices"][0]["device"], "cpu");
  EXPECT_NE(found["cuda_unavailable"].get<std::string>().find(reason), std::string::npos) << found;
  const Outcome text = run_program("tessera", {"devices"});
  EXPECT_EQ(text.code, 0);
  EXPECT_NE(text.out.find("not available"), std::string::npos) << text.out;
  const Outcome used =
      run_program("tessera", {"bench", "--model", "resnet18", "--size", "32", "--device", "cuda"});
  EXPECT_EQ(used.code, 1);
  ASSERT_EQ(used.errors().size(), 1u) << used.err;
  EXPECT_NE(used.errors()[0].find("cuda:0 is not available"), std::string::npos) << used.err;
  EXPECT_NE(used.errors()[0].find(reason), std::string::npos) << used.err;
}

TEST(Devices, APluginThatIsSwitchedOff) { expect_unavailable("none", "switched off"); }

TEST(Devices, APluginThatIsMissing) {
  expect_unavailable("/nowhere/libtessera_cuda.so", "/nowhere/libtessera_cuda.so");
}

TEST(Devices, ALibraryThatIsNoPlugin) {
  expect_unavailable(TESSERA_BINARY_DIR "/libtessera.so", "is not a plug-in of Tessera");
}

TEST(Devices, AutoTakesTheCpuWhereThereIsNoGpu) {
  const Plugin set("none");
  const Outcome run = run_program("tessera", {"bench", "--model", "resnet18", "--size", "32",
                                              "--seconds", "0", "--device", "auto", "--json"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(json::parse(run.out)["device"], "cpu");
}

TEST(Devices, AWordThatIsNoDevice) {
  const Outcome run = run_program("tessera", {"bench", "--device", "gpu"});
  EXPECT_EQ(run.code, 2);
  ASSERT_EQ(run.errors().size(), 1u) << run.err;
  EXPECT_NE(run.errors()[0].find("'gpu'"), std::string::npos) << run.err;
}

TEST(Devices, TheEmulatorIsADevice) {
  const std::string plugin = TESSERA_BINARY_DIR "/libtessera_cuda_emulator_plain.so";
  if (::access(plugin.c_str(), R_OK) != 0) GTEST_SKIP() << plugin << " was not built";
  const Plugin set(plugin);
  const json found = devices();
  ASSERT_EQ(found["devices"].size(), 2u) << found;
  EXPECT_EQ(found["devices"][1]["device"], "cuda:0");
  EXPECT_EQ(found["devices"][1]["name"], "CUDA emulator");
  const Outcome second = run_program(
      "tessera", {"bench", "--model", "resnet18", "--size", "32", "--device", "cuda:1"});
  EXPECT_EQ(second.code, 1);
  EXPECT_NE(second.err.find("there is one GPU"), std::string::npos) << second.err;
}

}  // namespace
}  // namespace tessera::testing

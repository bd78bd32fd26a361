// Which mode of the emulator finds which mistake: the table of docs/emulator.md, row by row.

#include "tests/cuda/planted.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

#include "tests/cuda/device_buffer.h"

namespace tessera::cuda::testing {
namespace {

struct Row {
  const char* kernel;
  // What its run says, in plain mode by order: forward, reverse, depth_first, random.
  std::array<const char*, 4> plain;
  const char* asan;
  const char* check;
};

constexpr const char* kNothing = "nothing";
constexpr const char* kValue = "wrong value: ";

#include "tests/cuda/planted_table.inc"

std::string run_in_process(const std::string& kernel, const char* order) {
  char self[4096];
  const ssize_t length = readlink("/proc/self/exe", self, sizeof self);
  const std::string command = std::string("TESSERA_EMULATOR_ORDER=") + order +
                              " ASAN_OPTIONS=detect_leaks=0 '" +
                              std::string(self, static_cast<size_t>(std::max<ssize_t>(length, 0))) +
                              "' --planted=" + kernel + " 2>&1";
  std::string output;
  FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) return "could not be run";
  char text[4096];
  while (fgets(text, sizeof text, pipe)) output += text;
  pclose(pipe);
  return output;
}

class PlantedKernel : public ::testing::TestWithParam<Row> {};

TEST_P(PlantedKernel, IsFoundWhereTheTableSaysSo) {
  const Row& row = GetParam();
  constexpr std::array<const char*, 4> kOrders{"forward", "reverse", "depth_first", "random"};
  const std::string mode = emulator_mode();
  for (size_t i = 0; i < kOrders.size(); ++i) {
    if (mode != "plain" && i > 0) break;
    const char* want = mode == "plain" ? row.plain[i] : mode == "asan" ? row.asan : row.check;
    const std::string got = run_in_process(row.kernel, kOrders[i]);
    EXPECT_NE(got.find(want), std::string::npos)
        << "in order " << kOrders[i] << " expected: " << want << "\ngot: " << got;
  }
}

INSTANTIATE_TEST_SUITE_P(Table, PlantedKernel, ::testing::ValuesIn(kTable),
                         [](const auto& info) { return std::string(info.param.kernel); });

TEST(PlantedKernels, AreAllInTheTable) { EXPECT_EQ(planted_kernels().size(), std::size(kTable)); }

}  // namespace
}  // namespace tessera::cuda::testing

#include "tests/common/hash_fill.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <regex>

#include "tests/golden/files.h"

namespace tessera::golden {
namespace {

// Entries are u("name", index): number, and key("name"): "number".
void check_values(const std::filesystem::path& file) {
  static const std::regex unit(R"re(u\("(.*)", ([0-9]+)\))re"), key(R"re(key\("(.*)"\))re");
  const Json values = read_json(file);
  EXPECT_FALSE(values.empty());
  for (const auto& [rule, value] : values.items()) {
    std::smatch part;
    if (std::regex_match(rule, part, unit)) {
      EXPECT_EQ(testing::hash_unit_at(testing::hash_key(part[1].str()), std::stoull(part[2])),
                value.get<double>())
          << rule;
    } else if (std::regex_match(rule, part, key)) {
      EXPECT_EQ(std::to_string(testing::hash_key(part[1].str())), value.get<std::string>()) << rule;
    } else {
      ADD_FAILURE() << "unknown rule " << rule;
    }
  }
}

[[maybe_unused]] const bool added =
    add_suite("GoldenHash", golden_dir() / "check_values.json", [](const auto& file) {
      add_test("GoldenHash", "check_values", [file] { check_values(file); });
    });

TEST(HashFill, ParameterFollowsNameAndShape) {
  const auto range = [](const std::string& name, const std::vector<int64_t>& shape) {
    const auto v = testing::hash_parameter(name, shape);
    return std::pair(*std::min_element(v.begin(), v.end()), *std::max_element(v.begin(), v.end()));
  };
  const auto expect_range = [&](const std::string& name, const std::vector<int64_t>& shape,
                                double lo, double hi) {
    const auto [low, high] = range(name, shape);
    const double slack = 0.01 * (hi - lo);
    EXPECT_TRUE(low >= static_cast<float>(lo) && low < lo + slack) << name << " " << low;
    EXPECT_TRUE(high <= hi && high > hi - slack) << name << " " << high;
  };
  expect_range("bn.running_var", {4096}, 0.5, 1.5);
  expect_range("bn.running_mean", {4096}, -0.1, 0.1);
  expect_range("bn.weight", {4096}, 0.5, 1.5);
  expect_range("fc.bias", {4096}, -0.1, 0.1);
  expect_range("conv.weight", {64, 6, 4, 4}, -0.25, 0.25);
  expect_range("layer_scale", {4096}, -0.1, 0.1);
  EXPECT_EQ(range("bn.num_batches_tracked", {}), std::pair(0.0f, 0.0f));
}

}  // namespace
}  // namespace tessera::golden

#include <gtest/gtest.h>

#include "tests/golden/files.h"

namespace tessera::golden {
namespace {

void skip(const std::string& suite_part, const std::string& name) {
  add_test("GoldenStylegan2", name, [suite_part, name] {
    GTEST_SKIP() << "stylegan2 " << suite_part << " '" << name << "' is not part of Tessera yet";
  });
}

// The listing is read in full, so that each case shows by name.
void list_cases(const std::filesystem::path& folder) {
  const Json meta = read_json(folder / "meta.json");
  for (const auto& [name, entry] : meta.at("networks").items()) skip("network", name);
  for (const auto& [name, entry] : meta.at("ops").items()) skip("operator", name);
  for (const auto& [name, entry] : meta.at("augment").at("groups").items())
    for (const Json& percentile : meta.at("augment").at("percentiles"))
      skip("augmentation", name + "_" + percentile.dump());
  skip("resampling", "filters");
}

[[maybe_unused]] const bool added =
    add_suite("GoldenStylegan2", golden_dir() / "stylegan2", list_cases);

}  // namespace
}  // namespace tessera::golden

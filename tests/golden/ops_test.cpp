#include "tests/golden/op_run.h"

namespace tessera::golden {
namespace {

void list_cases(const std::filesystem::path& folder) {
  const Json listing = read_json(folder / "cases.json");
  const auto salt = listing.at("salt").get<std::string>();
  for (const Json& entry : listing.at("cases")) {
    const auto name = entry.at("name").get<std::string>();
    add_test("GoldenOps", name, [folder, salt, entry, name] {
      const OpCase c{name, entry.at("op"), salt + name + "/", entry,
                     read_arrays(folder / (name + ".npz"))};
      check_listing(c);
      run_case(c, op_table(), Computed::in_f64);
    });
  }
}

[[maybe_unused]] const bool added = add_suite("GoldenOps", golden_dir() / "ops", list_cases);

}  // namespace
}  // namespace tessera::golden

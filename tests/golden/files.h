#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tensor/device.h"

namespace tessera::golden {

using Json = nlohmann::json;

/// $TESSERA_GOLDEN_DIR, or the folder shared/golden beside the source tree.
std::filesystem::path golden_dir();
/// $TESSERA_DATA_DIR, or the folder shared/data beside the source tree.
std::filesystem::path data_dir();

/// Where the cases run: the device that TESSERA_TEST_DEVICE names, the CPU without it. Throws as
/// parse_device.
Device test_device();

/// Throws IoError naming the file.
Json read_json(const std::filesystem::path& path);

/// A stored array in torch's layout.
struct Reference {
  std::vector<int64_t> shape;
  std::vector<double> values;
};
/// The arrays of an .npz file by name. Throws IoError naming the file.
std::map<std::string, Reference> read_arrays(const std::filesystem::path& path);

/// Adds a test that runs `body`. An exception fails it with one line.
void add_test(const std::string& suite, const std::string& name, std::function<void()> body);
/// Adds the tests of one suite by calling `list`, which reads from `folder`. Without the folder the
/// suite is one test that is skipped and names the path (one test for all suites together where
/// golden_dir() itself is missing); an unreadable listing is one that fails.
/// Returns true, to initialise a static.
bool add_suite(const std::string& suite, const std::filesystem::path& folder,
               const std::function<void(const std::filesystem::path&)>& list);

}  // namespace tessera::golden

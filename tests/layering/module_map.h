#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::testing {

/// An #include that the module map (docs/architecture.md) does not allow.
struct LayerViolation {
  std::string file;     ///< path from the root
  int line = 0;         ///< from 1; 0 where the file as a whole is misplaced
  std::string include;  ///< as written, without quotes or brackets
  std::string reason;
};
/// "ops/a.cpp:3: includes nn/b.h: ops may not include nn".
std::string to_string(const LayerViolation& violation);

/// Checks the #include lines of one source text. `file` is its path from the root of the tree and
/// decides the rules; existence of what it includes is not checked.
std::vector<LayerViolation> check_includes(const std::string& file, std::string_view text);

/// Checks every .h, .cpp, .cu and .cuh file below `root` but those in hidden folders, build/ and
/// runs/, and that every quoted include names a file of the tree. `files`, if given, receives the
/// number of files read. Throws std::filesystem::filesystem_error when `root` cannot be read.
std::vector<LayerViolation> check_tree(const std::filesystem::path& root, int* files = nullptr);

}  // namespace tessera::testing

#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "apps/common/progress.h"

namespace tessera::apps {

/// How people follow a run.
struct OutputOptions {
  bool json = false;   ///< the result as one JSON object on stdout
  bool quiet = false;  ///< no progress, no info lines
  ProgressMode progress() const { return quiet ? ProgressMode::kQuiet : ProgressMode::kAuto; }
};

/// Largest height and width of a network's input that a program accepts.
inline constexpr int64_t kMaxImageSide = 16384;

/// Asked now and then by a loop: whether to leave early, work saved. Empty: never.
using StopRequest = std::function<bool()>;

/// Creates the folder where it is missing and makes sure that files can be written to it: a run
/// must not learn that after hours. Throws IoError naming the folder or a file in it.
void make_output_folder(const std::filesystem::path& folder);

/// `value` as JSON text, on one line or indented. A path need not be UTF-8: its other bytes become
/// U+FFFD.
std::string json_text(const nlohmann::json& value, int indent = -1);

}  // namespace tessera::apps

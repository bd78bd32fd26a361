#pragma once

#include <csignal>
#include <filesystem>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <thread>

#include "tensor/profile.h"

namespace tessera::apps {

/// A profile of `steps` equal steps that took `seconds` together, all figures per step: steps,
/// step_ms, outside_ms (outside of kernels), and kernels, the longest first: kernel, where (the
/// spans around it), shapes (by_shape only), device, calls, ms (without kernels called by it),
/// share of step_ms, gflops (null where nothing counts them), gbps (arguments read or written
/// once).
nlohmann::json profile_json(const Profile& profile, double seconds, int64_t steps, bool by_shape);

/// profile_json as a table for people, a line for each of the first `most` kernels.
std::string profile_table(const nlohmann::json& profile, size_t most = 40);

/// Profiles the process while it lives. The trace is written when finish() is called, and also when
/// SIGINT or SIGTERM ends the program because nothing else handles them.
class ProfileFile {
 public:
  /// Where TESSERA_PROFILE names a file: profiles into it. Null where it is unset or empty. Throws
  /// IoError when the file cannot be written.
  static std::unique_ptr<ProfileFile> from_environment();

  explicit ProfileFile(const std::filesystem::path& path);
  ~ProfileFile();
  ProfileFile(const ProfileFile&) = delete;
  ProfileFile& operator=(const ProfileFile&) = delete;

  /// Writes the trace, and a table to stderr. Errors are reported there too; false then.
  bool finish();

 private:
  void wait_for_signal();
  bool write_once();

  std::filesystem::path path_;
  std::shared_ptr<Profile> profile_;
  std::optional<KernelObserverGuard> guard_;
  int pipe_[2] = {-1, -1};
  struct sigaction old_int_ = {}, old_term_ = {};
  std::mutex writing_;
  std::optional<bool> written_;
  std::thread thread_;
};

}  // namespace tessera::apps

#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "apps/common/output.h"
#include "tensor/device.h"
#include "tensor/error.h"

namespace tessera::apps {

/// Exit codes of every program. After a signal it is 128 + its number (130 for Ctrl-C), as shells
/// report it: see InterruptGuard::exit_code().
inline constexpr int kOk = 0, kFailed = 1, kUsage = 2;

/// Wrong arguments that the option parser itself cannot see.
class UsageError : public ValueError {
 public:
  using ValueError::ValueError;
};

/// Parses `args` (without the program's name) with `app` and runs what the chosen command set up.
/// Any long option may be shortened to a unique prefix and may use '_' for '-'; of an option given
/// twice the last value counts. Prints one line per error on stderr: kUsage for wrong arguments
/// (and UsageError), kFailed for anything else thrown while running and for results that could not
/// be written to stdout. Where TESSERA_PROFILE names a file, the run is profiled into it;
/// with TESSERA_CHECK_NAN=1 the first kernel that makes a NaN ends it.
int run_cli(CLI::App& app, std::vector<std::string> args);

/// args with long options completed for the subcommand they belong to; UsageError for an ambiguous
/// prefix and for a word where only the name of a command can stand. Unknown options are left for
/// the parser to report.
std::vector<std::string> complete_options(const CLI::App& app, std::vector<std::string> args);

/// Adds --json and --quiet.
void add_output_options(CLI::App& command, OutputOptions& output);
/// Adds --threads N.
void add_threads_option(CLI::App& command);
/// Adds --device: cpu (the default), cuda, cuda:N, or auto, which is the first GPU where there is
/// one. The device is set when the option is read: UsageError for any other word, DeviceError with
/// the reason for a GPU that cannot be used.
void add_device_option(CLI::App& command, Device& device);
/// Checks for add_option: a finite number >= 0, one in [0, 1], an integer in [0, 2^64).
CLI::Validator non_negative();
CLI::Validator share();
CLI::Validator seed();
/// Reads "256x128" (height x width) or "224" (square); UsageError naming `option` otherwise.
std::pair<int64_t, int64_t> parse_size(const std::string& text, const std::string& option);

/// A message of several lines as one: they are joined by "; ", and of more than five only the first
/// four are kept and the others counted.
std::string one_line(const std::string& message);

/// Set by a command that ends with a code of its own, as after Ctrl-C.
void set_exit_code(int code);

}  // namespace tessera::apps

#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "apps/common/output.h"

namespace tessera::apps {

/// Exit codes of every program.
inline constexpr int kOk = 0, kFailed = 1, kUsage = 2;

/// Parses `args` (without the program's name) with `app` and runs what the chosen command set up.
/// Any long option may be shortened to a unique prefix and may use '_' for '-'. Prints one line per
/// error on stderr: kUsage for wrong arguments, kFailed for anything thrown while running.
int run_cli(CLI::App& app, std::vector<std::string> args);

/// args with long options completed for the subcommand they belong to; ValueError for an ambiguous
/// prefix. Unknown options are left for the parser to report.
std::vector<std::string> complete_options(const CLI::App& app, std::vector<std::string> args);

/// Adds --json and --quiet.
void add_output_options(CLI::App& command, OutputOptions& output);
/// Adds --threads N.
void add_threads_option(CLI::App& command);
/// Reads "256x128" (height x width) or "224" (square); ValueError naming `option` otherwise.
std::pair<int64_t, int64_t> parse_size(const std::string& text, const std::string& option);

/// Set by a command that ends with a code of its own (130 after Ctrl-C).
void set_exit_code(int code);

}  // namespace tessera::apps

#include "apps/common/cli.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <optional>
#include <sstream>

#include "apps/common/log.h"
#include "apps/common/profile.h"
#include "tensor/allocator.h"
#include "tensor/cuda_plugin.h"
#include "tensor/nan_check.h"
#include "tensor/parallel.h"

namespace tessera::apps {
namespace {

int exit_code = kOk;

std::string normalized(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

// All long names of an app's own options.
std::vector<std::string> long_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back(name);
  return names;
}

std::string complete(const CLI::App& app, const std::string& name) {
  const std::vector<std::string> names = long_names(app);
  if (std::find(names.begin(), names.end(), name) != names.end()) return name;
  std::vector<std::string> matches;
  for (const std::string& candidate : names) {
    if (normalized(candidate) == normalized(name)) return candidate;
    if (normalized(candidate).starts_with(normalized(name))) matches.push_back(candidate);
  }
  if (matches.size() == 1) return matches[0];
  if (matches.empty()) return name;
  std::string list;
  for (const std::string& m : matches) list += (list.empty() ? "--" : ", --") + m;
  throw UsageError(cat("--", name, " is ambiguous: ", list));
}

// An option given twice has its last value, so that a command line can be extended by more options.
void let_last_value_win(CLI::App& app) {
  for (CLI::Option* option : app.get_options())
    if (option->get_items_expected_max() == 1) option->take_last();
  for (CLI::App* below : app.get_subcommands([](CLI::App*) { return true; }))
    let_last_value_win(*below);
}

// The command called `name` below `command`; UsageError with the names there are.
const CLI::App* find_command(const CLI::App* command, const std::string& name) {
  std::string names;
  for (const CLI::App* below : command->get_subcommands([](const CLI::App*) { return true; })) {
    if (below->get_name() == name) return below;
    names += (names.empty() ? "" : ", ") + below->get_name();
  }
  // A command without commands of its own: a surplus word, or the value of an option.
  if (names.empty()) return command;
  throw UsageError(cat("'", name, "' is not a command of ", command->get_name(), ": ", names));
}

// The whole of `text` as a T.
template <class T>
std::optional<T> number(const std::string& text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

CLI::Validator number_check(const std::string& what, std::function<bool(const std::string&)> good) {
  return CLI::Validator(
      [what, good = std::move(good)](const std::string& text) {
        return good(text) ? std::string() : cat("must be ", what, ", got '", text, "'");
      },
      "");
}

int parse_and_run(CLI::App& app, std::vector<std::string> args) {
  exit_code = kOk;
  try {
    args = complete_options(app, std::move(args));
    let_last_value_win(app);
    std::reverse(args.begin(), args.end());  // CLI11 takes them from the back
    app.parse(args);
    return exit_code;
  } catch (const CLI::CallForHelp&) {
    // CLI11 prints the help of the command it was asked for.
    std::fputs(app.help("", CLI::AppFormatMode::Normal).c_str(), stdout);
    return kOk;
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);
    Log().error(one_line(e.what()), " (--help lists the options)");
    return kUsage;
  } catch (const UsageError& e) {
    Log().error(one_line(e.what()), " (--help lists the options)");
    return kUsage;
  } catch (const std::exception& e) {
    Log().error(one_line(e.what()));
    return kFailed;
  }
}

}  // namespace

std::vector<std::string> complete_options(const CLI::App& app, std::vector<std::string> args) {
  const CLI::App* command = &app;
  for (std::string& arg : args) {
    if (arg == "--") break;
    if (!arg.starts_with("-")) {
      command = find_command(command, arg);
      continue;
    }
    if (!arg.starts_with("--")) continue;
    const size_t equals = arg.find('=');
    const std::string name = arg.substr(2, equals == std::string::npos ? equals : equals - 2);
    arg = "--" + complete(*command, name) + (equals == std::string::npos ? "" : arg.substr(equals));
  }
  return args;
}

int run_cli(CLI::App& app, std::vector<std::string> args) {
  int code = kFailed;
  try {
    const auto profile = ProfileFile::from_environment();
    check_nan_if_asked();
    code = parse_and_run(app, std::move(args));
    if (profile && !profile->finish() && code == kOk) code = kFailed;
  } catch (const std::exception& e) {
    Log().error("TESSERA_PROFILE: ", one_line(e.what()));
  }
  // A full disk behind a redirection shows itself here: the results went nowhere.
  errno = 0;
  if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return code;
  Log().error("the results could not be written to stdout",
              errno != 0 ? cat(": ", std::strerror(errno)) : std::string());
  return code == kOk ? kFailed : code;
}

std::string one_line(const std::string& message) {
  std::vector<std::string> lines;
  std::istringstream text(message);
  for (std::string line; std::getline(text, line);)
    if (!line.empty()) lines.push_back(line);
  const size_t shown = lines.size() > 5 ? 4 : lines.size();
  std::string out;
  for (size_t i = 0; i < shown; ++i)
    out += cat(i == 0 ? "" : out.ends_with(':') ? " " : "; ", lines[i]);
  return shown == lines.size() ? out : cat(out, "; and ", lines.size() - shown, " more");
}

void add_output_options(CLI::App& command, OutputOptions& output) {
  command.add_flag("--json", output.json, "Print the result as one JSON object");
  command.add_flag("--quiet", output.quiet, "No progress and no information lines");
}

void add_threads_option(CLI::App& command) {
  command
      .add_option_function<int>(
          "--threads", [](int n) { set_num_threads(n); },
          "Threads to compute with (default: TESSERA_NUM_THREADS, or all processors)")
      ->check(CLI::Range(1, 1024));
}

void add_device_option(CLI::App& command, Device& device) {
  command.add_option_function<std::string>(
      "--device",
      [&device](const std::string& text) {
        const CudaStatus& gpu = text == "cpu" ? CudaStatus{} : cuda_status();
        if (text == "auto") {
          device = gpu.devices.empty() ? kCpu : Device{DeviceType::cuda, 0};
          return;
        }
        try {
          device = parse_device(text);
        } catch (const ValueError&) {
          throw UsageError(cat("--device must be cpu, cuda, cuda:N or auto, got '", text, "'"));
        }
        if (!device.is_cpu()) allocator(device);  // DeviceError where it cannot be used
      },
      "Where to compute: cpu, cuda, cuda:N, or auto (a GPU where there is one); default: cpu");
}

CLI::Validator non_negative() {
  return number_check("a number of at least 0", [](const std::string& text) {
    const auto value = number<double>(text);
    return value && std::isfinite(*value) && *value >= 0;
  });
}

CLI::Validator share() {
  return number_check("a number from 0 to 1", [](const std::string& text) {
    const auto value = number<double>(text);
    return value && *value >= 0 && *value <= 1;
  });
}

CLI::Validator seed() {
  return number_check("an integer from 0 to 18446744073709551615",
                      [](const std::string& text) { return number<uint64_t>(text).has_value(); });
}

std::pair<int64_t, int64_t> parse_size(const std::string& text, const std::string& option) {
  const auto side = [&](const std::string& part) {
    const auto value = number<int64_t>(part);
    TESSERA_CHECK(apps::UsageError, value && *value >= 1 && *value <= kMaxImageSide, option,
                  " must be HEIGHTxWIDTH or one number from 1 to ", kMaxImageSide, ", got '", text,
                  "'");
    return *value;
  };
  const size_t x = text.find('x');
  if (x == std::string::npos) return {side(text), side(text)};
  return {side(text.substr(0, x)), side(text.substr(x + 1))};
}

void set_exit_code(int code) { exit_code = code; }

}  // namespace tessera::apps

#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

namespace tessera::testing {

/// How a program ended and what it printed.
struct Outcome {
  int code = -1;   // exit status, -1 when a signal ended it
  int signal = 0;  // that signal
  std::string out, err;

  /// The lines of stderr that begin with "error: ".
  std::vector<std::string> errors() const;
};

struct RunOptions {
  /// Largest file the program may write, in bytes; 0: no limit. Stands in for a full disk.
  uint64_t file_limit = 0;
  /// An existing file, such as a device, that stdout goes to; Outcome::out is then empty.
  std::string stdout_to = {};
  /// Asked every millisecond with the process id while the program runs.
  std::function<void(pid_t)> meanwhile = nullptr;
  double timeout_seconds = 120;  // then it is killed
};

/// Runs build/<preset>/<program> with one computing thread.
Outcome run_program(const std::string& program, const std::vector<std::string>& args,
                    const RunOptions& options = {});

}  // namespace tessera::testing

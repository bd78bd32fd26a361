#pragma once

#include <unistd.h>

#include <cstdio>
#include <string>

#include "tensor/error.h"

namespace tessera::apps {

/// Lines for people on stderr; results go to stdout. Each line is one write, so lines of different
/// threads do not mix. On a terminal a line first removes a progress bar standing there; the bar
/// comes back with its next update.
class Log {
 public:
  /// quiet drops info lines; warnings and errors are always written.
  explicit Log(bool quiet = false) : quiet_(quiet) {}

  template <class... Args>
  void info(const Args&... args) const {
    if (!quiet_) line("", cat(args...));
  }
  template <class... Args>
  void warn(const Args&... args) const {
    line("warning: ", cat(args...));
  }
  template <class... Args>
  void error(const Args&... args) const {
    line("error: ", cat(args...));
  }

  bool quiet() const { return quiet_; }

 private:
  static void line(const char* kind, const std::string& text) {
    const std::string whole = cat(isatty(STDERR_FILENO) ? "\r\x1b[K" : "", kind, text, "\n");
    std::fwrite(whole.data(), 1, whole.size(), stderr);
    std::fflush(stderr);
  }

  bool quiet_;
};

}  // namespace tessera::apps

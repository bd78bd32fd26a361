#pragma once

#include <array>
#include <csignal>

namespace tessera::apps {

/// While it lives, the first SIGINT, SIGTERM or SIGHUP (the terminal is gone) only sets a flag, so
/// that a loop can save its work and leave; the second one ends the program at once. Signals that
/// were ignored before (nohup) stay ignored. Destruction restores the former handlers and clears
/// the flag. Only one may live at a time.
class InterruptGuard {
 public:
  /// Throws Error when another guard lives or a handler cannot be installed.
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  /// Whether a signal has arrived.
  bool requested() const;
  /// The signal that arrived first, 0 before.
  int signal() const;
  /// Exit status by the shell's convention: 128 + signal (130 for Ctrl-C), 0 without a signal.
  int exit_code() const;

 private:
  std::array<struct sigaction, 3> old_ = {};
};

}  // namespace tessera::apps

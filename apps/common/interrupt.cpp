#include "apps/common/interrupt.h"

#include <atomic>

#include "tensor/error.h"

namespace tessera::apps {
namespace {

// A signal handler can reach nothing but globals; lock-free atomics are safe inside it.
std::atomic<int> g_signal{0};
std::atomic<bool> g_alive{false};
static_assert(std::atomic<int>::is_always_lock_free);

constexpr std::array kSignals{SIGINT, SIGTERM, SIGHUP};

extern "C" void on_signal(int number) {
  int none = 0;
  if (g_signal.compare_exchange_strong(none, number)) return;
  std::signal(number, SIG_DFL);
  std::raise(number);
}

void install(int number, struct sigaction& old) {
  TESSERA_CHECK(Error, sigaction(number, nullptr, &old) == 0, "cannot read the handler of signal ",
                number);
  if (old.sa_handler == SIG_IGN) return;
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;  // reads and writes under way go on
  TESSERA_CHECK(Error, sigaction(number, &action, nullptr) == 0,
                "cannot set the handler of signal ", number);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  TESSERA_CHECK(Error, !g_alive.exchange(true), "interrupt: another guard is alive");
  try {
    for (size_t i = 0; i < kSignals.size(); ++i) install(kSignals[i], old_[i]);
  } catch (...) {
    g_alive = false;
    throw;
  }
}

InterruptGuard::~InterruptGuard() {
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &old_[i], nullptr);
  g_signal = 0;
  g_alive = false;
}

bool InterruptGuard::requested() const { return g_signal != 0; }
int InterruptGuard::signal() const { return g_signal; }
int InterruptGuard::exit_code() const { return g_signal == 0 ? 0 : 128 + g_signal; }

}  // namespace tessera::apps

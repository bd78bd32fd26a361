// Signals that a kernel raises: an access to device memory that has still to be opened, or an
// error.

#include <csignal>
#include <cstdio>
#include <memory>

#include "cuda/emulator/machine.h"

#if defined(__linux__)
#include <ucontext.h>
#endif

namespace tessera::cuda::emulator {
namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE};
struct sigaction previous[std::size(kSignals)];

// Behind the instruction that faulted, as a return address would be.
const void* instruction_of(const void* context) {
#if defined(__linux__) && defined(__x86_64__)
  const auto* state = static_cast<const ucontext_t*>(context);
  return reinterpret_cast<const void*>(state->uc_mcontext.gregs[REG_RIP] + 1);
#elif defined(__linux__) && defined(__aarch64__)
  const auto* state = static_cast<const ucontext_t*>(context);
  return reinterpret_cast<const void*>(state->uc_mcontext.pc + 1);
#else
  static_cast<void>(context);
  return nullptr;
#endif
}

void on_fault(int signal, siginfo_t* info, void* context) {
  const RuntimeScope scope;  // the words for it are no accesses of the kernel
  Machine& m = machine();
  const void* address = info->si_addr;
  if (launching()) {
    if (signal == SIGSEGV && m.heap.open_for_kernel(address)) {
      ++m.stats.faults;
      return;
    }
    const std::string line = line_of(instruction_of(context));
    if (m.running != &m.host)  // leaves the handler for good, which its flags allow
      fail(signal == SIGFPE ? cat("integer division by zero at ", line)
                            : cat("invalid access at ", line, "\n    to ", describe(m, address)));
  } else if (m.heap.holds(address)) {
    std::fprintf(stderr, "CUDA emulator: host code touched a %s\n    at %s\n",
                 m.heap.describe(address).c_str(), line_of(instruction_of(context)).c_str());
  }
  // Not ours: it happens again, under whoever had the signal before.
  for (size_t i = 0; i < std::size(kSignals); ++i)
    if (kSignals[i] == signal) sigaction(signal, &previous[i], nullptr);
}

// Where handlers run: a kernel that has used up its fiber's stack has none left for them.
class SignalStack {
 public:
  SignalStack() {
    stack_t before{};
    if (sigaltstack(nullptr, &before) != 0 || !(before.ss_flags & SS_DISABLE)) return;
    memory_ = std::make_unique<char[]>(kBytes);
    stack_t ours{};
    ours.ss_sp = memory_.get();
    ours.ss_size = kBytes;
    sigaltstack(&ours, nullptr);
  }
  ~SignalStack() {
    if (!memory_) return;
    stack_t none{};
    none.ss_flags = SS_DISABLE;
    sigaltstack(&none, nullptr);
  }
  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;

 private:
  static constexpr size_t kBytes = 256 << 10;
  std::unique_ptr<char[]> memory_;
};

}  // namespace

void install_fault_handler() {
  thread_local const SignalStack stack;
  static const bool once = [] {
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &action, &previous[i]);
    return true;
  }();
  static_cast<void>(once);
}

}  // namespace tessera::cuda::emulator

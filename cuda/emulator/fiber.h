#pragma once

#include <cstddef>
#include <vector>

namespace tessera::cuda::emulator {

/// A flow of control with a stack of its own. The launching thread's own flow is one too.
struct Fiber {
  void* state = nullptr;  // while it does not run: its stack pointer, or its ucontext_t
  std::byte* stack = nullptr;
  size_t stack_bytes = 0;
  void* fake_stack = nullptr;  // AddressSanitizer's
};

/// Stops `from`, which is running, and goes on with `to`; returns when something switches back.
void switch_fiber(Fiber& from, Fiber& to);

/// As many fibers as a block has threads, each with a guard page below its stack.
class FiberPool {
 public:
  static constexpr int kFibers = 1024;
  static constexpr size_t kStackBytes = 256 << 10;

  /// Makes the stacks on the first call. `entry` is what a fiber runs; it must not return, and must
  /// call entered() first.
  void prepare(void (*entry)());
  static void entered();

  Fiber* take() {
    Fiber* fiber = free_.back();
    free_.pop_back();
    return fiber;
  }
  /// Its stack stays as it is: the next to switch to it goes on where it stopped.
  void give(Fiber* fiber) { free_.push_back(fiber); }
  /// Forgets what all fibers were doing.
  void reset();

  bool holds(const void* address) const { return address >= stacks_ && address < stacks_ + kBytes; }

 private:
  static const size_t kBytes;
  void start_anew(Fiber& fiber);

  std::byte* stacks_ = nullptr;
  void (*entry_)() = nullptr;
  std::vector<Fiber> fibers_;
  std::vector<Fiber*> free_;
};

}  // namespace tessera::cuda::emulator

#include "cuda/emulator/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#include "cuda/emulator/build_mode.h"
#include "cuda/emulator/device_heap.h"

#if !defined(__x86_64__) || defined(TESSERA_EMULATOR_UCONTEXT)
#define TESSERA_EMULATOR_OWN_SWITCH 0
#include <ucontext.h>
#else
#define TESSERA_EMULATOR_OWN_SWITCH 1
// Saves what a called function must keep, swaps stacks, restores: a tenth of swapcontext()'s time,
// which also asks the kernel for the signal mask.
asm(R"(
.text
.hidden tessera_emulator_switch
.globl tessera_emulator_switch
.type tessera_emulator_switch,@function
tessera_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size tessera_emulator_switch,.-tessera_emulator_switch
)");
extern "C" void tessera_emulator_switch(void** save, void* load);
#endif

namespace tessera::cuda::emulator {
namespace {

constexpr size_t kGuard = 64 << 10;  // a frame may be larger than a page
constexpr size_t kSlot = FiberPool::kStackBytes + kGuard;

#if TESSERA_EMULATOR_ASAN
Fiber* left = nullptr;  // the fiber that was switched away from last
#endif

#if !TESSERA_EMULATOR_OWN_SWITCH
ucontext_t* context_of(Fiber& fiber) {
  if (!fiber.state) fiber.state = new ucontext_t;  // fibers live as long as the process
  return static_cast<ucontext_t*>(fiber.state);
}
#endif

}  // namespace

const size_t FiberPool::kBytes = kSlot * kFibers;

void FiberPool::entered() {
#if TESSERA_EMULATOR_ASAN
  // It says where the stack left behind lies: the only way to learn that of the host's, whatever
  // thread it belongs to.
  const void* stack = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(nullptr, &stack, &bytes);
  left->stack = static_cast<std::byte*>(const_cast<void*>(stack));
  left->stack_bytes = bytes;
#endif
}

void switch_fiber(Fiber& from, Fiber& to) {
#if TESSERA_EMULATOR_ASAN
  left = &from;
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.stack_bytes);
#endif
#if TESSERA_EMULATOR_OWN_SWITCH
  tessera_emulator_switch(&from.state, to.state);
#else
  swapcontext(context_of(from), context_of(to));
#endif
#if TESSERA_EMULATOR_ASAN
  const void* stack = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(from.fake_stack, &stack, &bytes);
  left->stack = static_cast<std::byte*>(const_cast<void*>(stack));
  left->stack_bytes = bytes;
#endif
}

void FiberPool::prepare(void (*entry)()) {
  if (stacks_) return;
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  stacks_ = static_cast<std::byte*>(memory);
  entry_ = entry;
  fibers_.resize(kFibers);
  for (size_t i = 0; i < kFibers; ++i) {
    std::byte* slot = stacks_ + kSlot * i;
    mprotect(slot, kGuard, PROT_NONE);
    fibers_[i].stack = slot + kGuard;
    fibers_[i].stack_bytes = kStackBytes;
  }
  reset();
}

void FiberPool::reset() {
  free_.clear();
  for (size_t i = fibers_.size(); i-- > 0;) {
    ASAN_UNPOISON_MEMORY_REGION(fibers_[i].stack, kStackBytes);
    start_anew(fibers_[i]);
    free_.push_back(&fibers_[i]);
  }
}

void FiberPool::start_anew(Fiber& fiber) {
#if TESSERA_EMULATOR_OWN_SWITCH
  const auto end = reinterpret_cast<uintptr_t>(fiber.stack + kStackBytes) & ~uintptr_t{15};
  auto* top = reinterpret_cast<void**>(end);
  *--top = nullptr;  // leaves the stack pointer 8 off a multiple of 16, as after a call
  *--top = reinterpret_cast<void*>(entry_);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  fiber.state = top;
#else
  ucontext_t* context = context_of(fiber);
  getcontext(context);
  context->uc_stack.ss_sp = fiber.stack;
  context->uc_stack.ss_size = kStackBytes;
  context->uc_link = nullptr;
  makecontext(context, entry_, 0);
#endif
  fiber.fake_stack = nullptr;
}

}  // namespace tessera::cuda::emulator

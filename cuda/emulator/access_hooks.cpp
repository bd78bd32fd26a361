// Check mode: what the compiler's -fsanitize=thread makes the kernels call. ThreadSanitizer's
// library is not linked; these are hidden, so that they serve this library alone.

#include "cuda/emulator/checker.h"

#ifdef TESSERA_EMULATOR_CHECK

namespace {

using tessera::cuda::emulator::Access;

inline void report(const void* address, size_t bytes, Access access, const void* instruction) {
  using namespace tessera::cuda::emulator;
  if (!in_kernel_code || machine().fibers.holds(address)) return;
  if (static_cast<const void*>(&builtins) <= address && address < &builtins + 1) return;
  check_access(address, bytes, access, instruction);
}

}  // namespace

#define TESSERA_HOOK(NAME, BYTES, ACCESS)                                \
  extern "C" void NAME(void* address) {                                  \
    report(address, BYTES, Access::ACCESS, __builtin_return_address(0)); \
  }
#define TESSERA_HOOKS(BYTES)                              \
  TESSERA_HOOK(__tsan_read##BYTES, BYTES, read)           \
  TESSERA_HOOK(__tsan_write##BYTES, BYTES, write)         \
  TESSERA_HOOK(__tsan_unaligned_read##BYTES, BYTES, read) \
  TESSERA_HOOK(__tsan_unaligned_write##BYTES, BYTES, write)
TESSERA_HOOKS(1)
TESSERA_HOOKS(2)
TESSERA_HOOKS(4)
TESSERA_HOOKS(8)
TESSERA_HOOKS(16)

// Clang's, for what reads and writes one place.
#define TESSERA_HOOK_BOTH(BYTES)                                        \
  extern "C" void __tsan_read_write##BYTES(void* address) {             \
    report(address, BYTES, Access::read, __builtin_return_address(0));  \
    report(address, BYTES, Access::write, __builtin_return_address(0)); \
  }
TESSERA_HOOK_BOTH(1)
TESSERA_HOOK_BOTH(2)
TESSERA_HOOK_BOTH(4)
TESSERA_HOOK_BOTH(8)
TESSERA_HOOK_BOTH(16)

extern "C" void __tsan_read_range(void* address, unsigned long bytes) {
  if (bytes > 0) report(address, bytes, Access::read, __builtin_return_address(0));
}
extern "C" void __tsan_write_range(void* address, unsigned long bytes) {
  if (bytes > 0) report(address, bytes, Access::write, __builtin_return_address(0));
}
extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}
extern "C" void __tsan_vptr_update(void*, void*) {}
extern "C" void __tsan_vptr_read(void*) {}

// Host code in the kernels' files: reference counts, flags, kernel slots.
#define TESSERA_ATOMIC(BITS, T)                                                                 \
  extern "C" T __tsan_atomic##BITS##_load(const volatile T* p, int) {                           \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                \
  }                                                                                             \
  extern "C" void __tsan_atomic##BITS##_store(volatile T* p, T v, int) {                        \
    __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                                   \
  }                                                                                             \
  extern "C" T __tsan_atomic##BITS##_exchange(volatile T* p, T v, int) {                        \
    return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);                                         \
  }                                                                                             \
  extern "C" T __tsan_atomic##BITS##_fetch_add(volatile T* p, T v, int) {                       \
    return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);                                          \
  }                                                                                             \
  extern "C" T __tsan_atomic##BITS##_fetch_sub(volatile T* p, T v, int) {                       \
    return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST);                                          \
  }                                                                                             \
  extern "C" T __tsan_atomic##BITS##_fetch_and(volatile T* p, T v, int) {                       \
    return __atomic_fetch_and(p, v, __ATOMIC_SEQ_CST);                                          \
  }                                                                                             \
  extern "C" T __tsan_atomic##BITS##_fetch_or(volatile T* p, T v, int) {                        \
    return __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST);                                           \
  }                                                                                             \
  extern "C" T __tsan_atomic##BITS##_fetch_xor(volatile T* p, T v, int) {                       \
    return __atomic_fetch_xor(p, v, __ATOMIC_SEQ_CST);                                          \
  }                                                                                             \
  extern "C" int __tsan_atomic##BITS##_compare_exchange_strong(volatile T* p, T* old, T v, int, \
                                                               int) {                           \
    return __atomic_compare_exchange_n(p, old, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);   \
  }                                                                                             \
  extern "C" int __tsan_atomic##BITS##_compare_exchange_weak(volatile T* p, T* old, T v, int,   \
                                                             int) {                             \
    return __atomic_compare_exchange_n(p, old, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);   \
  }
TESSERA_ATOMIC(8, unsigned char)
TESSERA_ATOMIC(16, unsigned short)
TESSERA_ATOMIC(32, unsigned int)
TESSERA_ATOMIC(64, unsigned long)
extern "C" void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
extern "C" void __tsan_atomic_signal_fence(int) {}

#endif

#pragma once

/// What this build of the emulator looks for beside wrong results.

#if defined(__SANITIZE_ADDRESS__)
#define TESSERA_EMULATOR_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TESSERA_EMULATOR_ASAN 1
#endif
#endif
#ifndef TESSERA_EMULATOR_ASAN
#define TESSERA_EMULATOR_ASAN 0
#endif

#if TESSERA_EMULATOR_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define ASAN_POISON_MEMORY_REGION(begin, bytes) ((void)(begin), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(begin, bytes) ((void)(begin), (void)(bytes))
#endif

namespace tessera::cuda::emulator {

/// AddressSanitizer watches shared and device memory.
inline constexpr bool kAsan = TESSERA_EMULATOR_ASAN != 0;

/// The kernels' memory accesses are reported to the checker (checker.h).
#ifdef TESSERA_EMULATOR_CHECK
inline constexpr bool kCheck = true;
#else
inline constexpr bool kCheck = false;
#endif

}  // namespace tessera::cuda::emulator

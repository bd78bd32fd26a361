#pragma once

#include <cstddef>
#include <type_traits>

#include "cuda/emulator/cuda_types.h"

/// Threads change places only at barriers and warp operations, so a plain update is atomic. The
/// checker is told that it was meant to be.
namespace tessera::cuda::emulator {

void note_atomic(const void* address, size_t bytes);

template <class T, class F>
TESSERA_EMULATOR_UNCHECKED T update_atomically(T* address, F f) {
  note_atomic(address, sizeof(T));
  const T old = *address;
  *address = f(old);
  return old;
}

}  // namespace tessera::cuda::emulator

#define TESSERA_EMULATOR_ATOMIC(NAME, RESULT)                                    \
  template <class T>                                                             \
  T NAME(T* address, std::type_identity_t<T> v) {                                \
    return tessera::cuda::emulator::update_atomically(                           \
        address, [=](T old) TESSERA_EMULATOR_UNCHECKED -> T { return RESULT; }); \
  }
TESSERA_EMULATOR_ATOMIC(atomicAdd, static_cast<T>(old + v))
TESSERA_EMULATOR_ATOMIC(atomicSub, static_cast<T>(old - v))
TESSERA_EMULATOR_ATOMIC(atomicExch, (static_cast<void>(old), v))
TESSERA_EMULATOR_ATOMIC(atomicMin, v < old ? v : old)
TESSERA_EMULATOR_ATOMIC(atomicMax, old < v ? v : old)
TESSERA_EMULATOR_ATOMIC(atomicAnd, static_cast<T>(old& v))
TESSERA_EMULATOR_ATOMIC(atomicOr, static_cast<T>(old | v))
TESSERA_EMULATOR_ATOMIC(atomicXor, static_cast<T>(old ^ v))
// Counts up to v and down from v, starting again.
TESSERA_EMULATOR_ATOMIC(atomicInc, old >= v ? T(0) : static_cast<T>(old + 1))
TESSERA_EMULATOR_ATOMIC(atomicDec, old == 0 || old > v ? v : static_cast<T>(old - 1))
#undef TESSERA_EMULATOR_ATOMIC

template <class T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> v) {
  return tessera::cuda::emulator::update_atomically(
      address, [=](T old) TESSERA_EMULATOR_UNCHECKED -> T { return old == expected ? v : old; });
}

#include "cuda/emulator/tensor_core.h"

#include "cuda/emulator/checker.h"
#include "cuda/emulator/machine.h"

namespace tessera::cuda::emulator {

void check_matrix_row(const void* row, size_t bytes, Location where) {
  const auto refuse = [&](const char* why) {
    fail(cat("ldmatrix at ", to_string(where), ": ", why));
  };
  if (!machine().shared.holds(row, bytes)) refuse("not shared memory");
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) refuse("misaligned row address");
#if TESSERA_EMULATOR_ASAN
  if (__asan_region_is_poisoned(const_cast<void*>(row), bytes))
    refuse("row outside shared memory variables");
#endif
  check_on_behalf(row, bytes, Access::read, __builtin_return_address(0));
}

}  // namespace tessera::cuda::emulator

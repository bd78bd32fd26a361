#include "cuda/emulator/async_copy.h"

#include <cstring>

#include "cuda/emulator/checker.h"
#include "cuda/emulator/machine.h"

namespace tessera::cuda::emulator {

void start_async_copy(void* target, const void* source, unsigned bytes, unsigned valid) {
  Machine& m = machine();
  const auto misaligned = [&](const void* p) {
    return reinterpret_cast<uintptr_t>(p) % bytes != 0;
  };
  if (bytes != 4 && bytes != 8 && bytes != 16) fail("cp.async copies 4, 8 or 16 bytes");
  if (valid > bytes) fail("cp.async: more valid bytes than it copies");
  if (misaligned(target) || (valid > 0 && misaligned(source))) fail("misaligned cp.async");
  if (!m.shared.holds(target, bytes)) fail("cp.async: the target is not shared memory");
  check_on_behalf(target, bytes, Access::write, __builtin_return_address(0));
  if (valid > 0) check_on_behalf(source, valid, Access::read, __builtin_return_address(0));
  const RuntimeScope scope;
  if (kCheck) set_in_flight(m, target, bytes, true);
  std::memset(target, 0xFF, bytes);
  AsyncCopies& copies = m.current->copies;
  copies.pending.push_back({static_cast<std::byte*>(target), static_cast<const std::byte*>(source),
                            bytes, valid, copies.group});
}

void commit_async_copies() { ++machine().current->copies.group; }

void wait_async_copies(unsigned leave) {
  const RuntimeScope scope;
  Machine& m = machine();
  AsyncCopies& copies = m.current->copies;
  std::erase_if(copies.pending, [&](const AsyncCopies::Copy& copy) {
    if (copy.group + leave >= copies.group) return false;  // too young, or not committed
    if (kCheck) set_in_flight(m, copy.target, copy.bytes, false);
    std::memcpy(copy.target, copy.source, copy.valid);
    std::memset(copy.target + copy.valid, 0, copy.bytes - copy.valid);
    return true;
  });
}

}  // namespace tessera::cuda::emulator

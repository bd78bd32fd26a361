#pragma once

#include <bit>
#include <cstdint>
#include <string>

#include "cuda/device.h"
#include "tensor/error.h"

/// How kernels report input that they cannot use, such as an index out of range, without making the
/// host wait for every one of them. A kernel notes the first such value in a record of the device
/// and goes on with a value that is safe. The host throws ValueError when it next looks: at a later
/// launch that can report, at a copy to the host or at synchronize(). The emulator looks at once.
namespace tessera::cuda {

struct Fault {
  unsigned long long taken;
  unsigned long long op;  // address of the operator's name on the host
  long long value, bound;
};
inline constexpr int64_t kNumber = -1;  // for `bound`: the value is the bits of a double

/// What the host says.
inline std::string fault_message(const Fault& fault) {
  const std::string op = reinterpret_cast<const char*>(fault.op);
  if (fault.bound == kNumber) return cat(op, ", got ", std::bit_cast<double>(fault.value));
  return cat(op, ": index ", fault.value, " is outside [0, ", fault.bound, ")");
}

/// What a kernel is given, by value: the record and the name to put into it.
struct FaultReporter {
  Fault* fault;
  unsigned long long op;

  /// index itself, or 0 with a report unless 0 <= index < bound.
  __device__ __forceinline__ int64_t checked(int64_t index, int64_t bound) const {
    if (index >= 0 && index < bound) return index;
    report(index, bound);
    return 0;
  }
  /// A number that breaks the rule which `op` states.
  __device__ void report_number(double number) const {
    report(std::bit_cast<int64_t>(number), kNumber);
  }
  __device__ void report(int64_t value, int64_t bound) const {
    if (atomicCAS(&fault->taken, 0ull, 1ull) != 0) return;
    fault->op = op;
    fault->value = value;
    fault->bound = bound;
  }
};

/// A reporter for a kernel about to be launched. `op` is a string literal. Throws what an earlier
/// kernel has reported by now.
FaultReporter fault_reporter(const char* op);

/// Throws ValueError "gather: index 7 is outside [0, 5)" if a kernel of the current device has
/// reported so (or the like, for a number), and clears the record. Where the host runs ahead of
/// the device the report may come later; after synchronize() it has come.
void raise_fault();

/// To be called after a launch that was given a reporter: the emulator's chance to look at once.
inline void look_for_fault() {
  if (TESSERA_CUDA_EMULATED) raise_fault();
}

}  // namespace tessera::cuda

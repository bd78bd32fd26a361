#pragma once

#include <string>
#include <vector>

namespace tessera::cuda::testing {

/// A kernel with a mistake, or a sound one of the kind that is easily taken for wrong.
struct Planted {
  const char* name;
  /// Runs it and says how its result differs from the right one; "" if it does not.
  std::string (*run)();
};

const std::vector<Planted>& planted_kernels();

/// Runs the kernel of this name and prints "wrong value: ...", "report: ..." or "nothing"; what a
/// sanitizer finds ends the process. Exit status.
int run_planted(const std::string& name);

}  // namespace tessera::cuda::testing

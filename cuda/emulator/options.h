#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace tessera::cuda::emulator {

/// The order in which a block's threads take turns and blocks follow each other. A kernel that is
/// right gives the same result in all of them.
///   forward      threads in rising order, each up to its next barrier or warp operation
///   reverse      falling order, blocks too
///   depth_first  a released thread goes on at once, so that one runs as far ahead as it can
///   random       any thread that can run, and blocks in any order
enum class Order : uint8_t { forward, reverse, depth_first, random };

struct Options {
  Order order = Order::forward;
  uint64_t seed = 1;  ///< of the random order; each launch starts from it anew

  /// Fill shared memory and fresh device memory with 0xFF bytes: NaN in every floating type.
  bool poison = true;
  /// Host code that touches device memory faults (see device_memory.h).
  bool host_guard = true;
  /// Threads that meet in different __syncthreads() are an error.
  bool strict_barriers = true;
  /// A barrier that completes because threads have left the kernel is an error.
  bool strict_exit = false;
  /// Check mode: the chance of a change of threads at each memory access.
  double preempt = 0;
};

/// Options by the names of the environment:
///   TESSERA_EMULATOR_ORDER            forward | reverse | depth_first | random | random:SEED
///   TESSERA_EMULATOR_POISON           on | off
///   TESSERA_EMULATOR_HOST_GUARD       on | off
///   TESSERA_EMULATOR_STRICT_BARRIERS  on | off
///   TESSERA_EMULATOR_STRICT_EXIT      on | off
///   TESSERA_EMULATOR_PREEMPT          a number from 0 to 1
/// `look_up` returns a variable's value or nullptr. Throws ValueError naming variable and value.
Options parse_options(const std::function<const char*(const char*)>& look_up);

/// The process's options; a change counts from the next launch or allocation on. Not to be changed
/// while another thread launches.
Options& options();

/// What has been done so far.
struct Stats {
  uint64_t launches = 0, blocks = 0, threads = 0, switches = 0, barriers = 0, collectives = 0,
           accesses = 0, faults = 0;
};
Stats& stats();

}  // namespace tessera::cuda::emulator

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "cuda/emulator/async_copy.h"
#include "cuda/emulator/block.h"
#include "cuda/emulator/build_mode.h"
#include "cuda/emulator/device_heap.h"
#include "cuda/emulator/fiber.h"
#include "cuda/emulator/hopper.h"
#include "cuda/emulator/host_api.h"
#include "cuda/emulator/kernel_error.h"
#include "cuda/emulator/options.h"
#include "cuda/emulator/shared_memory.h"
#include "cuda/emulator/warp.h"

/// The emulated GPU: what the sources of the emulator share.
namespace tessera::cuda::emulator {

inline constexpr int kMaxThreads = FiberPool::kFibers;  // of a block

enum class ThreadState : uint8_t { ready, at_barrier, in_warp_operation, at_mbarrier, done };

/// A CUDA thread of the block that runs.
struct Thread {
  uint3 index;
  uint16_t number;  // within the block
  ThreadState state;
  bool predicate;
  int votes;       // how many threads of its last barrier passed a predicate
  Fiber* fiber;    // nullptr until it runs first
  Location where;  // the operation that it waits in
  AsyncCopies copies;
  MatrixOperations products;

  unsigned lane() const { return number % 32u; }
  unsigned warp() const { return number / 32u; }
};

struct Warp {
  unsigned exist = 0, alive = 0;  // lanes
  std::vector<WarpGroup> groups;
  // Check mode: time passes with each operation that orders memory; ordered[a][b] is when one last
  // ordered lanes a and b.
  uint32_t time = 1;
  uint32_t ordered[32][32];
};

struct Barrier {
  std::vector<uint16_t> waiting;
  Location first;
};

/// Threads that can run. First in, first out for the forward and reverse orders; the last one in
/// comes first in depth-first order; any in random order.
class ReadyThreads {
 public:
  void start(Order order) {
    order_ = order;
    first_ = count_ = 0;
  }
  bool empty() const { return count_ == 0; }
  void add(uint16_t thread) { ring_[(first_ + count_++) % kRing] = thread; }
  uint16_t take(std::mt19937_64& random) {
    --count_;
    if (order_ == Order::depth_first) return ring_[(first_ + count_) % kRing];
    if (order_ == Order::random)
      std::swap(ring_[first_ % kRing], ring_[(first_ + random() % (count_ + 1)) % kRing]);
    return ring_[first_++ % kRing];
  }

 private:
  static constexpr size_t kRing = 2048;
  Order order_ = Order::forward;
  uint16_t ring_[kRing];
  size_t first_ = 0, count_ = 0;
};

struct Machine {
  std::mutex mutex;  // held by copies, allocation and launches
  Options options;
  Stats stats;
  std::mt19937_64 random;

  DeviceHeap heap;
  SharedMemory shared;
  FiberPool fibers;
  std::map<const void*, size_t> dynamic_limits;  // of kernels that have opted in

  // The launch.
  const Grid* grid = nullptr;
  Fiber host;  // the launching thread's own flow
  Fiber* running = nullptr;
  std::thread::id fibers_of{};  // fibers belong to the thread that ran on them last
  uint64_t first_block = 0;     // its first block's serial
  std::string error;            // what has ended it

  // The block.
  uint64_t serial = 0;  // counts blocks over all launches
  uint32_t epoch = 0;   // counts barriers, and blocks
  int live = 0;         // threads that have not left the kernel
  Thread* current = nullptr;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  Barrier barrier;
  ReadyThreads ready;
  Transfers transfers;             // of the TMA
  std::vector<uint16_t> released;  // scratch
};

/// Made when the plug-in is loaded, never destroyed: tensors of static storage may outlive it.
extern Machine* const the_machine;
inline Machine& machine() { return *the_machine; }

/// Whether the calling thread of the process is inside run_grid().
bool launching();

/// True while the code of a kernel runs. The access hooks ignore everything else: the linker may
/// have merged an instrumented copy of an inline function from a kernel's file into this library.
extern constinit thread_local bool in_kernel_code;
class RuntimeScope {
 public:
  RuntimeScope() : before_(in_kernel_code) { in_kernel_code = false; }
  ~RuntimeScope() { in_kernel_code = before_; }
  RuntimeScope(const RuntimeScope&) = delete;
  RuntimeScope& operator=(const RuntimeScope&) = delete;

 private:
  const bool before_;
};

// scheduler.cpp
void run_block(Machine& m, uint3 index);
void fiber_main();
/// Lets `thread` run again.
void make_ready(Machine& m, uint16_t thread);
/// The same for many, so that they run in the launch's order; empties the list.
void make_ready(Machine& m, std::vector<uint16_t>& threads);
/// Runs others until the current thread, whose state says what it waits for, is ready and its turn
/// comes.
void wait_for_turn(Machine& m);
/// All that wait at the block's barrier go on.
void complete_barrier(Machine& m);

// hopper.cpp
/// Carries out one transfer of the TMA; false if none is under way.
bool run_transfer(Machine& m);

// report.cpp
/// Ends the launch with this error: run_grid() throws it. Outside of a launch it throws at once.
[[noreturn]] void fail(std::string what);
/// "relu.cu:12".
std::string to_string(const Location& where, bool with_column = false);
/// "thread (3,0,0)".
std::string to_string(const Thread& thread);
/// What lies at an address: a variable, an allocation, neither.
std::string describe(Machine& m, const void* address);
/// The source line, or the function's name, of an instruction.
std::string line_of(const void* instruction);
std::string function_of(const void* instruction);

// faults.cpp
/// Takes over SIGSEGV, SIGBUS and SIGFPE, once for the process and its signal stack once a thread.
void install_fault_handler();

}  // namespace tessera::cuda::emulator

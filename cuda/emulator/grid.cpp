// Launches.

#include <algorithm>
#include <numeric>

#include "cuda/emulator/host_api.h"
#include "cuda/emulator/machine.h"

namespace tessera::cuda::emulator {

Machine* const the_machine = new Machine;
constinit thread_local bool in_kernel_code = false;

namespace {

constinit thread_local bool is_launching = false;

void check_limits(Machine& m, const Grid& launch) {
  const auto refuse = [&](const char* why) {
    throw KernelError(cat("CUDA emulator: launch at ", to_string(launch.where), ": ", why));
  };
  const dim3 &g = launch.grid, &b = launch.block;
  const uint64_t threads = uint64_t{b.x} * b.y * b.z;
  if (threads == 0 || threads > kMaxThreads || b.z > 64)
    refuse("a block has 1 to 1024 threads, at most 64 along z");
  if (g.x == 0 || g.y == 0 || g.z == 0 || g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535)
    refuse("a grid has 1 to 2^31 - 1 blocks along x, 1 to 65535 along y and z");
  const auto limit = m.dynamic_limits.find(launch.kernel);
  if (launch.shared_bytes > SharedMemory::kDefaultLimit &&
      (limit == m.dynamic_limits.end() || limit->second < launch.shared_bytes))
    refuse("more than 48 KiB of shared memory without allow_dynamic_shared()");
}

// The launch is under way while this lives.
class LaunchScope {
 public:
  LaunchScope(Machine& m, const Grid& launch) : m_(m) {
    m.grid = &launch;
    m.running = &m.host;
    m.current = nullptr;
    m.error.clear();
    m.first_block = m.serial + 1;
    is_launching = true;
  }
  ~LaunchScope() {
    is_launching = false;
    in_kernel_code = false;
    m_.grid = nullptr;
    m_.running = nullptr;
    m_.current = nullptr;
  }
  LaunchScope(const LaunchScope&) = delete;
  LaunchScope& operator=(const LaunchScope&) = delete;

 private:
  Machine& m_;
};

void lay_out_block(Machine& m, const Grid& launch) {
  builtins.block_size = launch.block;
  builtins.grid_size = launch.grid;
  const dim3 size = launch.block;
  const unsigned threads = size.x * size.y * size.z;
  m.threads.resize(threads);
  m.warps.resize((threads + 31) / 32);
  for (unsigned i = 0; i < threads; ++i) {
    Thread& t = m.threads[i];
    t.number = static_cast<uint16_t>(i);
    t.index = {i % size.x, i / size.x % size.y, i / (size.x * size.y)};
  }
}

void run_blocks(Machine& m, const Grid& launch) {
  const uint64_t per_row = launch.grid.x, rows = launch.grid.y;
  const uint64_t blocks = per_row * rows * launch.grid.z;
  std::vector<uint64_t> shuffled;
  if (m.options.order == Order::random) {
    shuffled.resize(blocks);
    std::iota(shuffled.begin(), shuffled.end(), uint64_t{0});
    std::shuffle(shuffled.begin(), shuffled.end(), m.random);
  }
  for (uint64_t i = 0; i < blocks; ++i) {
    const uint64_t k = m.options.order == Order::random    ? shuffled[i]
                       : m.options.order == Order::reverse ? blocks - 1 - i
                                                           : i;
    run_block(m, {static_cast<unsigned>(k % per_row), static_cast<unsigned>(k / per_row % rows),
                  static_cast<unsigned>(k / per_row / rows)});
  }
}

}  // namespace

bool launching() { return is_launching; }
Options& options() { return machine().options; }
Stats& stats() { return machine().stats; }

void allow_dynamic_smem(const void* kernel, size_t bytes) {
  if (bytes > SharedMemory::kLargestLimit)
    throw KernelError("CUDA emulator: a block has at most 227 KiB of shared memory");
  Machine& m = machine();
  const std::lock_guard lock(m.mutex);
  m.dynamic_limits[kernel] = bytes;
}

void run_grid(const Grid& launch) {
  if (launching()) fail("a kernel launches another");
  Machine& m = machine();
  const std::lock_guard lock(m.mutex);
  check_limits(m, launch);
  install_fault_handler();
  m.fibers.prepare(fiber_main);
  if (m.fibers_of != std::this_thread::get_id()) m.fibers.reset();
  m.fibers_of = std::this_thread::get_id();
  ++m.stats.launches;
  if (m.options.order == Order::random || m.options.preempt > 0) m.random.seed(m.options.seed);
  m.shared.start_launch(launch.shared_bytes);
  lay_out_block(m, launch);
  const LaunchScope scope(m, launch);
  try {
    for (size_t i = 0; i < launch.argument_count; ++i) m.heap.open_for_kernel(launch.arguments[i]);
    run_blocks(m, launch);
  } catch (...) {
    m.heap.close_opened();
    m.fibers.reset();
    throw;
  }
  if (const std::string damage = m.heap.close_opened(); !damage.empty()) fail(damage);
}

}  // namespace tessera::cuda::emulator

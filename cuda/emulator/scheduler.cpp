// Which thread of a block runs, and when.

#include <algorithm>
#include <map>

#include "cuda/emulator/machine.h"

namespace tessera::cuda::emulator {
namespace {

Thread* next_thread(Machine& m) {
  while (m.ready.empty())
    if (!run_transfer(m)) return nullptr;
  return &m.threads[m.ready.take(m.random)];
}

void set_current(Machine& m, Thread& thread) {
  m.current = &thread;
  builtins.thread = thread.index;
}

void go(Machine& m, Fiber& from, Fiber& to) {
  m.running = &to;
  switch_fiber(from, to);
}

std::string deadlock(Machine& m) {
  std::map<std::string, std::vector<const Thread*>> places;
  int done = 0;
  for (const Thread& t : m.threads) {
    if (t.state == ThreadState::done)
      ++done;
    else
      places[cat(t.state == ThreadState::at_barrier    ? "barrier"
                 : t.state == ThreadState::at_mbarrier ? "mbarrier"
                                                       : "warp operation",
                 " at ", to_string(t.where))]
          .push_back(&t);
  }
  std::string text = "deadlock:";
  for (const auto& [place, threads] : places)
    text += cat("\n    ", threads.size(), " thread(s) wait in a ", place,
                " (first: ", to_string(*threads.front()), ")");
  if (done > 0) text += cat("\n    ", done, " thread(s) have left the kernel");
  return text;
}

// The current thread has returned from the kernel.
void leave_kernel(Machine& m) {
  Thread& t = *m.current;
  t.state = ThreadState::done;
  if (!t.products.pending.empty()) fail("left the kernel with wgmma operations under way");
  if (!t.copies.pending.empty()) fail("left the kernel with cp.async copies under way");
  --m.live;
  Warp& warp = m.warps[t.warp()];
  warp.alive &= ~(1u << t.lane());
  for (const WarpGroup& group : warp.groups) {
    if (!(group.mask >> t.lane() & 1) || (group.mask & warp.alive) != group.arrived) continue;
    const auto waiting = static_cast<unsigned>(__builtin_ctz(group.arrived));
    fail(cat("left the kernel although a warp operation at ",
             to_string(m.threads[t.warp() * 32 + waiting].where), " names its lane in the mask"));
  }
  const size_t waiting = m.barrier.waiting.size();
  if (waiting == 0 || static_cast<int>(waiting) != m.live) return;
  if (m.options.strict_exit)
    fail(cat("the barrier at ", to_string(m.barrier.first),
             " completes only because this thread left the kernel"));
  complete_barrier(m);
}

}  // namespace

void make_ready(Machine& m, uint16_t thread) {
  m.threads[thread].state = ThreadState::ready;
  m.ready.add(thread);
}

void make_ready(Machine& m, std::vector<uint16_t>& threads) {
  if (!std::is_sorted(threads.begin(), threads.end())) std::sort(threads.begin(), threads.end());
  const bool falling = m.options.order == Order::reverse || m.options.order == Order::depth_first;
  if (falling)  // depth_first takes what came last
    for (size_t i = threads.size(); i-- > 0;) make_ready(m, threads[i]);
  else
    for (const uint16_t t : threads) make_ready(m, t);
  threads.clear();
}

void wait_for_turn(Machine& m) {
  Thread* me = m.current;
  Thread* next = next_thread(m);
  if (!next) fail(deadlock(m));
  if (next == me) return;
  ++m.stats.switches;
  if (!next->fiber) next->fiber = m.fibers.take();
  set_current(m, *next);
  go(m, *me->fiber, *next->fiber);
}

void complete_barrier(Machine& m) {
  ++m.stats.barriers;
  ++m.epoch;
  int votes = 0;
  for (const uint16_t t : m.barrier.waiting) votes += m.threads[t].predicate;
  for (const uint16_t t : m.barrier.waiting) m.threads[t].votes = votes;
  make_ready(m, m.barrier.waiting);
}

void fiber_main() {
  FiberPool::entered();
  Machine& m = machine();
  for (;;) {
    Fiber& me = *m.running;
    in_kernel_code = true;
    m.grid->thunk(m.grid->call);
    in_kernel_code = false;
    leave_kernel(m);
    Thread* next = next_thread(m);
    if (!next) {
      if (m.live > 0) fail(deadlock(m));
      m.fibers.give(&me);
      go(m, me, m.host);
    } else if (!next->fiber) {  // it begins where the last one has ended
      next->fiber = &me;
      set_current(m, *next);
    } else {
      ++m.stats.switches;
      m.fibers.give(&me);
      set_current(m, *next);
      go(m, me, *next->fiber);
    }
  }
}

void run_block(Machine& m, uint3 index) {
  const size_t threads = m.threads.size();
  ++m.stats.blocks;
  m.stats.threads += threads;
  ++m.serial;
  ++m.epoch;
  builtins.block = index;
  m.shared.start_block(m.options.poison);
  m.transfers.pending.clear();
  m.transfers.waiting.clear();
  m.barrier.waiting.clear();
  m.live = static_cast<int>(threads);
  for (size_t i = 0; i < m.warps.size(); ++i) {
    Warp& warp = m.warps[i];
    const size_t lanes = std::min<size_t>(32, threads - i * 32);
    warp.exist = warp.alive = lanes == 32 ? ~0u : (1u << lanes) - 1;
    warp.groups.clear();
    if (!kCheck) continue;
    warp.time = 1;
    std::fill_n(&warp.ordered[0][0], 32 * 32, 0u);
  }
  for (Thread& t : m.threads) {
    t.fiber = nullptr;
    t.predicate = false;
    t.copies.pending.clear();
    t.copies.group = 0;
    t.products.pending.clear();
    t.products.accumulators.clear();
    t.products.group = 0;
  }
  m.ready.start(m.options.order);
  m.released.resize(threads);
  for (size_t i = 0; i < threads; ++i) m.released[i] = static_cast<uint16_t>(i);
  make_ready(m, m.released);
  Thread* first = next_thread(m);
  first->fiber = m.fibers.take();
  set_current(m, *first);
  go(m, m.host, *first->fiber);
  m.current = nullptr;
  if (!m.error.empty()) throw KernelError(m.error);
  if (kAsan || kCheck) return;  // they have seen the write itself
  if (const std::string damage = m.shared.damage(); !damage.empty()) fail(damage);
}

// ---- what kernels call

void block_barrier(Location where) {
  RuntimeScope scope;
  Machine& m = machine();
  Barrier& barrier = m.barrier;
  Thread& t = *m.current;
  t.where = where;
  const Location& first = barrier.first;
  if (barrier.waiting.empty()) {
    barrier.first = where;
  } else if (m.options.strict_barriers &&
             (first.line() != where.line() || first.column() != where.column() ||
              first.file_name() != where.file_name())) {
    fail(cat("threads of one block meet in different __syncthreads(): ", to_string(first, true),
             " and ", to_string(where, true)));
  }
  barrier.waiting.push_back(t.number);
  t.state = ThreadState::at_barrier;
  if (static_cast<int>(barrier.waiting.size()) == m.live) complete_barrier(m);
  wait_for_turn(m);
}

int block_barrier_count(int predicate, Location where) {
  Thread& t = *machine().current;
  t.predicate = predicate != 0;
  block_barrier(where);
  t.predicate = false;
  return t.votes;
}

uint64_t block_serial() { return machine().serial; }

void* allocate_shared(size_t bytes, size_t alignment, size_t element, const char* name) {
  RuntimeScope scope;
  Machine& m = machine();
  std::string problem;
  void* memory = m.shared.allocate(bytes, alignment, element, name, m.options.poison, problem);
  if (!memory) fail(std::move(problem));
  return memory;
}

void* dynamic_shared() { return machine().shared.dynamic(); }

}  // namespace tessera::cuda::emulator

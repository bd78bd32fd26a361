#include "cuda/emulator/warp.h"

#include "cuda/emulator/machine.h"

namespace tessera::cuda::emulator {
namespace {

// The group that waits for this lane in the same operation, or the number of groups if none does.
// Fails if a lane of the mask waits for this lane in another.
size_t find_group(Machine& m, const Warp& warp, unsigned mask, const void* key, Location where) {
  const Thread& t = *m.current;
  size_t found = warp.groups.size();
  for (size_t i = 0; i < warp.groups.size(); ++i) {
    const WarpGroup& group = warp.groups[i];
    if (group.mask == mask && group.key == key && !(group.arrived >> t.lane() & 1)) {
      found = i;
    } else if ((mask & group.arrived) && (group.mask >> t.lane() & 1)) {
      const auto other = static_cast<unsigned>(__builtin_ctz(mask & group.arrived));
      fail(cat("lanes of one warp wait for each other in different operations: lane ", other,
               " at ", to_string(m.threads[t.warp() * 32 + other].where), ", this lane at ",
               to_string(where)));
    }
  }
  return found;
}

void finish_group(Machine& m, Warp& warp, size_t index, unsigned first_thread,
                  void (*resolve)(WarpGroup&), bool orders_memory) {
  ++m.stats.collectives;
  WarpGroup group = warp.groups[index];
  warp.groups.erase(warp.groups.begin() + static_cast<std::ptrdiff_t>(index));
  resolve(group);
  if (kCheck && orders_memory) {
    for (int a = 0; a < 32; ++a)
      for (int b = 0; b < 32; ++b)
        if (group.arrived >> a & group.arrived >> b & 1) warp.ordered[a][b] = warp.time;
    ++warp.time;
  }
  m.released.clear();
  for (unsigned lane = 0; lane < 32; ++lane)
    if (group.arrived >> lane & 1) m.released.push_back(static_cast<uint16_t>(first_thread + lane));
  make_ready(m, m.released);
}

}  // namespace

void warp_collective(unsigned mask, const void* key, const void* in, void* out,
                     void (*resolve)(WarpGroup&), bool orders_memory, Location where) {
  RuntimeScope scope;
  Machine& m = machine();
  Thread& t = *m.current;
  Warp& warp = m.warps[t.warp()];
  t.where = where;
  if (!(mask >> t.lane() & 1))
    fail(cat("warp operation at ", to_string(where), ": the calling lane is not in its own mask"));
  if (mask & warp.exist & ~warp.alive)
    fail(cat("warp operation at ", to_string(where),
             ": the mask names a lane that has left the kernel"));
  const size_t index = find_group(m, warp, mask, key, where);
  if (index == warp.groups.size()) {
    WarpGroup& added = warp.groups.emplace_back();
    added.mask = mask;
    added.key = key;
  }
  WarpGroup& group = warp.groups[index];
  group.arrived |= 1u << t.lane();
  group.in[t.lane()] = in;
  group.out[t.lane()] = out;
  t.state = ThreadState::in_warp_operation;
  if ((mask & warp.alive) == group.arrived)
    finish_group(m, warp, index, t.warp() * 32, resolve, orders_memory);
  wait_for_turn(m);
}

unsigned lane_id() { return machine().current->lane(); }
unsigned live_lanes() {
  const Machine& m = machine();
  return m.warps[m.current->warp()].alive;
}

}  // namespace tessera::cuda::emulator

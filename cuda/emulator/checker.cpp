#include "cuda/emulator/checker.h"

#include <link.h>

#include <algorithm>

#include "cuda/emulator/atomics.h"

namespace tessera::cuda::emulator {
namespace {

// An access under examination.
struct Examined {
  const void* address;
  size_t bytes;
  Access access;
  const void* instruction;
  bool shared;
};

[[noreturn, gnu::noinline]] void refuse(Machine& m, const Examined& e, const char* what,
                                        int other = -1) {
  const char* kind = e.access == Access::read    ? "-byte read"
                     : e.access == Access::write ? "-byte write"
                                                 : "-byte atomic update";
  std::string text = cat(what, ": ", e.bytes, kind, " at ", line_of(e.instruction), "\n    of ",
                         describe(m, e.address));
  if (other >= 0)
    text += cat("\n    conflicts with an access by ",
                to_string(m.threads[static_cast<size_t>(other)]), " not ordered by any barrier");
  fail(std::move(text));
}

// Whether an earlier access of this block is ordered with the current thread.
bool is_ordered(const Machine& m, uint32_t epoch, unsigned thread, uint32_t time) {
  if (epoch != m.epoch || thread == m.current->number) return true;
  if (thread / 32 != m.current->warp()) return false;
  return m.warps[thread / 32].ordered[thread % 32][m.current->lane()] >= time;
}

constexpr const char* kBetweenBlocks = "data race between blocks of one launch";

void compare_with_writer(Machine& m, const Cell& cell, const Examined& e) {
  if (cell.writer_block == 0 || (e.access == Access::atomic && cell.by_atomic)) return;
  if (cell.writer_block == static_cast<uint32_t>(m.serial)) {
    if (!is_ordered(m, cell.writer_epoch, cell.writer_thread, cell.writer_time))
      refuse(m, e, "data race", cell.writer_thread);
  } else if (!e.shared && cell.writer_block >= m.first_block) {
    refuse(m, e, kBetweenBlocks);
  }
}

void note_read(Machine& m, Cell& cell, bool shared) {
  const auto block = static_cast<uint32_t>(m.serial);
  const Thread& t = *m.current;
  const Warp& warp = m.warps[t.warp()];
  if (cell.reader_block != block || cell.reader_epoch != m.epoch) {
    const bool same_launch = cell.reader_block >= m.first_block;
    if (!shared && same_launch && cell.reader_block != block)
      cell.many_blocks_read = 1;
    else if (!same_launch)
      cell.many_blocks_read = 0;
    cell.reader_block = block;
    cell.reader_epoch = m.epoch;
    cell.reader_warp = static_cast<uint8_t>(t.warp());
    cell.reader_lanes = 0;
    cell.many_warps_read = 0;
  } else if (cell.reader_warp != t.warp()) {
    cell.many_warps_read = 1;
    cell.reader_warp = static_cast<uint8_t>(t.warp());
    cell.reader_lanes = 0;
  } else if (cell.reader_time != warp.time) {
    // Earlier readers that this thread is ordered behind: who is ordered behind it is so with them.
    for (unsigned lanes = cell.reader_lanes; lanes != 0; lanes &= lanes - 1) {
      const auto lane = static_cast<unsigned>(__builtin_ctz(lanes));
      if (warp.ordered[lane][t.lane()] >= cell.reader_time) cell.reader_lanes &= ~(1u << lane);
    }
  }
  cell.reader_lanes |= 1u << t.lane();
  cell.reader_time = warp.time;
}

void compare_with_readers(Machine& m, const Cell& cell, const Examined& e) {
  if (cell.reader_block == 0) return;
  const bool this_block = cell.reader_block == static_cast<uint32_t>(m.serial);
  if (!e.shared && cell.reader_block >= m.first_block && (cell.many_blocks_read || !this_block))
    refuse(m, e, kBetweenBlocks);
  if (!this_block || cell.reader_epoch != m.epoch) return;
  const unsigned first = cell.reader_warp * 32u;
  if (cell.many_warps_read)
    refuse(m, e, "data race", static_cast<int>(first) + __builtin_ctz(cell.reader_lanes));
  for (unsigned lanes = cell.reader_lanes; lanes != 0; lanes &= lanes - 1) {
    const unsigned reader = first + static_cast<unsigned>(__builtin_ctz(lanes));
    if (!is_ordered(m, cell.reader_epoch, reader, cell.reader_time))
      refuse(m, e, "data race", static_cast<int>(reader));
  }
}

void examine(Machine& m, Cell& cell, const Examined& e) {
  if (cell.in_flight)
    refuse(m, e, "access to the target of an asynchronous copy that was not waited for");
  if (e.access != Access::write && !cell.written)
    refuse(m, e, "read of memory that nobody has written");
  compare_with_writer(m, cell, e);
  if (e.access == Access::read) return note_read(m, cell, e.shared);
  compare_with_readers(m, cell, e);
  cell.writer_block = static_cast<uint32_t>(m.serial);
  cell.writer_epoch = m.epoch;
  cell.writer_time = m.warps[m.current->warp()].time;
  cell.writer_thread = m.current->number;
  cell.by_atomic = e.access == Access::atomic;
  cell.written = 1;
}

// Memory of the program and its libraries: constants, tables.
bool is_static(const void* address) {
  return dl_iterate_phdr(
             [](dl_phdr_info* info, size_t, void* wanted) {
               const auto at = reinterpret_cast<uintptr_t>(wanted);
               for (int i = 0; i < info->dlpi_phnum; ++i) {
                 const auto& part = info->dlpi_phdr[i];
                 const uintptr_t begin = info->dlpi_addr + part.p_vaddr;
                 if (part.p_type == PT_LOAD && at >= begin && at < begin + part.p_memsz) return 1;
               }
               return 0;
             },
             const_cast<void*>(address)) != 0;
}

// Pages that is_static() has found so, by their number: tables are read over and over.
bool is_known_static(const void* address) {
  static uintptr_t known[256];
  const uintptr_t page = reinterpret_cast<uintptr_t>(address) / kPage;
  uintptr_t& entry = known[page % std::size(known)];
  if (entry == page) return true;
  if (!is_static(address)) return false;
  entry = page;
  return true;
}

}  // namespace

void check_access(const void* address, size_t bytes, Access access, const void* instruction) {
  const RuntimeScope scope;
  Machine& m = machine();
  ++m.stats.accesses;
  if (m.options.preempt > 0 &&
      std::uniform_real_distribution<>(0, 1)(m.random) < m.options.preempt) {
    make_ready(m, m.current->number);
    wait_for_turn(m);
  }
  const Examined e{address, bytes, access, instruction, m.shared.holds(address)};
  const auto each = [&](Cell& cell) { examine(m, cell, e); };
  if (e.shared) {
    const size_t offset = m.shared.offset_of(address);
    SharedMemory::Variable* variable = m.shared.find(offset, bytes);
    if (!variable) refuse(m, e, "access outside shared memory variables");
    return variable->cells.each(offset - variable->offset, bytes, each);
  }
  if (m.heap.holds(address)) {
    DeviceBlock* block = m.heap.find(address);
    const auto* first = static_cast<const std::byte*>(address);
    if (!block || !block->live || first < block->data || first + bytes > block->data + block->bytes)
      refuse(m, e, "access outside a device allocation");
    return block->cells.each(static_cast<size_t>(first - block->data), bytes, each);
  }
  if (!is_known_static(address)) refuse(m, e, "access outside device memory");
}

void set_in_flight(Machine& m, const void* shared, size_t bytes, bool in_flight) {
  const size_t offset = m.shared.offset_of(shared);
  if (SharedMemory::Variable* variable = m.shared.find(offset, bytes))
    variable->cells.each(offset - variable->offset, bytes,
                         [&](Cell& cell) { cell.in_flight = in_flight; });
}

void set_written(Cells& cells, size_t offset, size_t bytes) {
  cells.each(offset, bytes, [](Cell& cell) {
    cell = Cell{};
    cell.written = 1;
  });
}

void note_atomic(const void* address, size_t bytes) {
  if constexpr (kCheck)
    if (in_kernel_code) check_access(address, bytes, Access::atomic, __builtin_return_address(0));
}

}  // namespace tessera::cuda::emulator

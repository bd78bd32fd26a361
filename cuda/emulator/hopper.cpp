#include "cuda/emulator/hopper.h"

#include <array>
#include <bit>
#include <cstring>

#include "cuda/emulator/checker.h"
#include "cuda/emulator/machine.h"

namespace tessera::cuda::emulator {
namespace {

constexpr size_t kRow = 128;  // bytes of a box's row, and of the swizzle's pattern

struct MBarrier {
  uint64_t expected : 15, phase : 1;
  int64_t pending : 16, bytes : 32;
};
static_assert(sizeof(MBarrier) == sizeof(uint64_t));

MBarrier load(const uint64_t* barrier) { return std::bit_cast<MBarrier>(*barrier); }

void store(Machine& m, uint64_t* barrier, MBarrier state) {
  if (state.pending == 0 && state.bytes == 0) {
    state.phase ^= 1;
    state.pending = static_cast<int64_t>(state.expected);
    make_ready(m, m.transfers.waiting);
  }
  *barrier = std::bit_cast<uint64_t>(state);
}

// 128-byte swizzle: the number of a 16-byte chunk, exclusive or the row's number modulo 8.
size_t swizzled(size_t offset) { return offset ^ (offset / kRow % 8) * 16; }

void copy_box(Machine& m, const Transfers::Transfer& t) {
  const size_t base = m.shared.offset_of(t.target);
  for (uint32_t row = 0; row < t.map.box_rows; ++row)
    for (int column = 0; column < 64; ++column) {
      const int64_t y = int64_t{t.y} + row, x = int64_t{t.x} + column;
      uint16_t value = 0;
      if (y >= 0 && y < static_cast<int64_t>(t.map.rows) && x >= 0 &&
          x < static_cast<int64_t>(t.map.cols))
        std::memcpy(&value,
                    static_cast<const uint16_t*>(t.map.base) +
                        static_cast<uint64_t>(y) * t.map.cols + static_cast<uint64_t>(x),
                    sizeof value);
      const size_t offset = base + row * kRow + static_cast<size_t>(column) * 2;
      std::memcpy(m.shared.at(swizzled(offset)), &value, sizeof value);
    }
}

// An element of a matrix in shared memory.
float element(Machine& m, uint64_t descriptor, unsigned row, unsigned k) {
  if (descriptor >> 62 != 1 || (descriptor >> 49 & 7) != 0)
    fail("wgmma: the emulator knows descriptors of 128-byte swizzle with base offset 0 alone");
  const size_t start = (descriptor & 0x3FFF) << 4, stride = (descriptor >> 32 & 0x3FFF) << 4;
  const size_t offset = swizzled(start + row / 8 * stride + row % 8 * kRow + k * 2);
  if (kCheck) {
    SharedMemory::Variable* variable = m.shared.find(offset, 2);
    if (!variable) fail("wgmma reads outside shared memory variables");
    variable->cells.each(offset - variable->offset, 2, [](const Cell& cell) {
      if (cell.in_flight) fail("wgmma reads the target of a TMA copy that was not waited for");
    });
  }
  uint16_t bits;
  std::memcpy(&bits, m.shared.at(offset), sizeof bits);
  return std::bit_cast<float>(uint32_t{bits} << 16);
}

// This thread's 32 values of a 64 x 64 product over 16 steps.
void accumulate(Machine& m, const MatrixOperations::Product& p, float* d) {
  const Thread& t = *m.current;
  const unsigned group = t.lane() / 4, pair = t.lane() % 4;
  float a[2][16];
  for (unsigned half = 0; half < 2; ++half)
    for (unsigned k = 0; k < 16; ++k)
      a[half][k] = element(m, p.a, t.warp() % 4 * 16 + group + 8 * half, k);
  for (unsigned j = 0; j < 8; ++j)
    for (unsigned c = 0; c < 2; ++c) {
      float b[16];
      for (unsigned k = 0; k < 16; ++k) b[k] = element(m, p.b, j * 8 + pair * 2 + c, k);
      for (unsigned half = 0; half < 2; ++half) {
        float& sum = d[j * 4 + half * 2 + c];
        if (!p.scale_d) sum = 0;
        for (unsigned k = 0; k < 16; ++k) sum += a[half][k] * b[k];
      }
    }
}

}  // namespace

bool run_transfer(Machine& m) {
  std::vector<Transfers::Transfer>& pending = m.transfers.pending;
  if (pending.empty()) return false;
  const size_t which = m.options.order == Order::random ? m.random() % pending.size() : 0;
  const Transfers::Transfer t = pending[which];
  pending.erase(pending.begin() + static_cast<std::ptrdiff_t>(which));
  copy_box(m, t);
  const size_t bytes = t.map.box_rows * kRow, offset = m.shared.offset_of(t.target);
  if (kCheck)
    if (SharedMemory::Variable* variable = m.shared.find(offset, bytes))
      set_written(variable->cells, offset - variable->offset, bytes);
  MBarrier barrier = load(t.barrier);
  barrier.bytes -= static_cast<int64_t>(bytes);
  store(m, t.barrier, barrier);
  return true;
}

void mbarrier_init(uint64_t* barrier, unsigned arrivals) {
  MBarrier state{};
  state.expected = arrivals;
  state.pending = static_cast<int64_t>(arrivals);
  *barrier = std::bit_cast<uint64_t>(state);
}

void mbarrier_arrive(uint64_t* barrier, unsigned expected_bytes) {
  const RuntimeScope scope;
  MBarrier state = load(barrier);
  if (state.expected == 0x7fff) fail("mbarrier used before it was initialised");
  state.bytes += static_cast<int64_t>(expected_bytes);
  state.pending -= 1;
  store(machine(), barrier, state);
}

void mbarrier_wait(uint64_t* barrier, unsigned parity, Location where) {
  const RuntimeScope scope;
  Machine& m = machine();
  while (load(barrier).phase == parity) {
    m.current->where = where;
    m.current->state = ThreadState::at_mbarrier;
    m.transfers.waiting.push_back(m.current->number);
    wait_for_turn(m);
  }
}

void start_transfer(void* target, const TensorMap& map, int x, int y, uint64_t* barrier) {
  const RuntimeScope scope;
  Machine& m = machine();
  const size_t bytes = map.box_rows * kRow;
  if (reinterpret_cast<uintptr_t>(target) % 1024 != 0)
    fail("TMA copy with 128-byte swizzle: the target is not aligned to 1024 bytes");
  if (!m.shared.holds(target, bytes)) fail("TMA copy: the target is not shared memory");
  std::memset(target, 0xFF, bytes);
  if (kCheck) set_in_flight(m, target, bytes, true);
  m.transfers.pending.push_back({static_cast<std::byte*>(target), map, x, y, barrier});
}

unsigned shared_offset(const void* address) {
  return static_cast<unsigned>(machine().shared.offset_of(address));
}

void start_product(float* d, uint64_t a, uint64_t b, int scale_d) {
  const RuntimeScope scope;
  MatrixOperations& products = machine().current->products;
  const auto [place, added] = products.accumulators.try_emplace(d);
  if (added) place->second.assign(d, d + 32);
  std::memset(d, 0xFF, 32 * sizeof(float));
  products.pending.push_back({d, a, b, scale_d, products.group});
}

void commit_products() { ++machine().current->products.group; }

void wait_products(unsigned leave) {
  const RuntimeScope scope;
  Machine& m = machine();
  MatrixOperations& products = m.current->products;
  std::erase_if(products.pending, [&](const MatrixOperations::Product& p) {
    if (p.group + leave >= products.group) return false;
    accumulate(m, p, products.accumulators[p.d].data());
    return true;
  });
  std::erase_if(products.accumulators, [&](const auto& entry) {
    for (const auto& p : products.pending)
      if (p.d == entry.first) return false;
    std::memcpy(entry.first, entry.second.data(), 32 * sizeof(float));
    return true;
  });
}

}  // namespace tessera::cuda::emulator

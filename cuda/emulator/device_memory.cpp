#include "cuda/emulator/device_memory.h"

#include <cstring>

#include "cuda/emulator/checker.h"
#include "cuda/emulator/machine.h"

namespace tessera::cuda::emulator {
namespace {

std::unique_lock<std::mutex> lock_for(Machine& m, const char* what) {
  if (launching()) fail(cat(what, " within a kernel"));
  return std::unique_lock(m.mutex);
}

// Opens blocks; closes them at its end.
class OpenBlocks {
 public:
  explicit OpenBlocks(Machine& m) : heap_(m.heap) {}
  ~OpenBlocks() { heap_.close_opened(); }
  OpenBlocks(const OpenBlocks&) = delete;
  OpenBlocks& operator=(const OpenBlocks&) = delete;

  DeviceBlock& open(const void* begin, size_t bytes, const char* what) {
    DeviceBlock& block = heap_.range(begin, bytes, what);
    heap_.open(block);
    return block;
  }

 private:
  DeviceHeap& heap_;
};

size_t offset_in(const DeviceBlock& block, const void* address) {
  return static_cast<size_t>(static_cast<const std::byte*>(address) - block.data);
}

void note_written(DeviceBlock& block, const void* begin, size_t bytes) {
  if (kCheck) set_written(block.cells, offset_in(block, begin), bytes);
}

void require_written(DeviceBlock& block, const void* begin, size_t bytes) {
  if (!kCheck) return;
  size_t unwritten = 0, at = 0, first = 0;
  block.cells.each(offset_in(block, begin), bytes, [&](const Cell& cell) {
    if (!cell.written && unwritten++ == 0) first = at;
    ++at;
  });
  if (unwritten == 0) return;
  const size_t granule = block.cells.granule();
  throw KernelError(cat("CUDA emulator: copy from the device: ", unwritten * granule, " of ", bytes,
                        " bytes were never written, the first at byte ", first * granule));
}

}  // namespace

void* device_malloc(size_t bytes) {
  Machine& m = machine();
  const auto lock = lock_for(m, "device_malloc()");
  install_fault_handler();
  return m.heap.allocate(bytes, m.options.poison, m.options.host_guard);
}

void device_free(void* pointer) {
  if (!pointer) return;
  Machine& m = machine();
  const auto lock = lock_for(m, "device_free()");
  m.heap.free(pointer);
}

void memory_info(size_t& free, size_t& total) {
  Machine& m = machine();
  const auto lock = lock_for(m, "memory_info()");
  total = DeviceHeap::kDeviceBytes;
  free = total - m.heap.live_bytes();
}

void copy_in(void* device, const void* host, size_t bytes) {
  if (bytes == 0) return;
  Machine& m = machine();
  const auto lock = lock_for(m, "copy to the device");
  OpenBlocks blocks(m);
  DeviceBlock& block = blocks.open(device, bytes, "copy to the device");
  std::memcpy(device, host, bytes);
  note_written(block, device, bytes);
}

void copy_out(void* host, const void* device, size_t bytes) {
  if (bytes == 0) return;
  Machine& m = machine();
  const auto lock = lock_for(m, "copy from the device");
  OpenBlocks blocks(m);
  DeviceBlock& block = blocks.open(device, bytes, "copy from the device");
  require_written(block, device, bytes);
  std::memcpy(host, device, bytes);
}

void copy_within(void* to, const void* from, size_t bytes) {
  if (bytes == 0) return;
  Machine& m = machine();
  const auto lock = lock_for(m, "copy on the device");
  OpenBlocks blocks(m);
  DeviceBlock& target = blocks.open(to, bytes, "copy on the device");
  DeviceBlock& source = blocks.open(from, bytes, "copy on the device");
  std::memmove(to, from, bytes);
  // What was never written may be copied, but stays so.
  if (kCheck)
    target.cells.copy_written(offset_in(target, to), source.cells, offset_in(source, from), bytes);
}

void device_memset(void* device, int value, size_t bytes) {
  if (bytes == 0) return;
  Machine& m = machine();
  const auto lock = lock_for(m, "memset");
  OpenBlocks blocks(m);
  DeviceBlock& block = blocks.open(device, bytes, "memset");
  std::memset(device, value, bytes);
  note_written(block, device, bytes);
}

void mark_written(void* device, size_t bytes) {
  if (bytes == 0) return;
  Machine& m = machine();
  const auto lock = lock_for(m, "mark_written()");
  note_written(m.heap.range(device, bytes, "mark_written()"), device, bytes);
}

}  // namespace tessera::cuda::emulator

// The runtime calls on the emulator: one device, whose work is done when a call returns.

#include "cuda/runtime.h"

#include <cstdlib>
#include <new>

#include "cuda/emulator/device_memory.h"
#include "cuda/emulator/options.h"
#include "cuda/fault.h"

namespace tessera::cuda {

int device_count(std::string& why) {
  try {
    emulator::options() = emulator::parse_options(std::getenv);
    return 1;
  } catch (const ValueError& e) {
    why = e.what();
    return 0;
  }
}
CudaDeviceInfo device_info(int) {
  size_t free = 0, total = 0;
  memory_info(free, total);
  return {"CUDA emulator", 9, 0, 1, static_cast<int64_t>(total), static_cast<int64_t>(free)};
}
int current_device() { return 0; }
void set_device(int) {}
Stream current_stream() { return nullptr; }

void* device_malloc(size_t bytes) { return emulator::device_malloc(bytes); }
void device_free(void* pointer) { emulator::device_free(pointer); }
void memory_info(size_t& free, size_t& total) { emulator::memory_info(free, total); }
void* pinned_malloc(size_t bytes) { return std::malloc(bytes); }
void pinned_free(void* pointer) { std::free(pointer); }

void copy_to_device(void* device, const void* host, size_t bytes) {
  emulator::copy_in(device, host, bytes);
}
void copy_to_host(void* host, const void* device, size_t bytes) {
  emulator::copy_out(host, device, bytes);
}
void copy_on_device(void* to, const void* from, size_t bytes) {
  emulator::copy_within(to, from, bytes);
}
void fill_bytes(void* device, int value, size_t bytes) {
  emulator::device_memset(device, value, bytes);
}
void synchronize() {}

namespace {
Fault* fault_record() {
  static Fault* record = [] {
    auto* made = static_cast<Fault*>(emulator::device_malloc(sizeof(Fault)));
    emulator::device_memset(made, 0, sizeof(Fault));
    return made;
  }();
  return record;
}
}  // namespace

FaultReporter fault_reporter(const char* op) {
  return {fault_record(), reinterpret_cast<unsigned long long>(op)};
}

void raise_fault() {
  Fault found;
  emulator::copy_out(&found, fault_record(), sizeof(Fault));
  if (found.taken == 0) return;
  emulator::device_memset(fault_record(), 0, sizeof(Fault));
  throw ValueError(fault_message(found));
}

Event::Event() = default;
Event::~Event() = default;
void Event::record(Stream) {}
void Event::make_wait(Stream) const {}
void Event::synchronize() const {}
bool Event::done() const { return true; }
float Event::elapsed_since(const Event&) const { return 0; }

bool emulated() { return true; }

}  // namespace tessera::cuda

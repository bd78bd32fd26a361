// The runtime calls on the CUDA runtime.

#include "cuda/runtime.h"

#include <cuda_runtime.h>

#include <array>
#include <cstdlib>
#include <new>
#include <string_view>

#include "cuda/fault.h"
#include "cuda/launch.h"
#include "tensor/error.h"

namespace tessera::cuda {
namespace {

constexpr int kMaxDevices = 16;
thread_local int selected = 0;
thread_local const void* last_kernel = nullptr;

std::string kernel_name(const void* kernel) {
  const char* name = nullptr;
  if (!kernel || cudaFuncGetName(&name, kernel) != cudaSuccess || !name) return "none";
  return name;
}

// A fault of a kernel shows up at a later call and stays: every call fails from then on. So the
// message names the kernel that was launched last, and says what to do.
[[noreturn]] void fail(cudaError_t status, std::string_view call) {
  throw CudaError(cat(call, ": ", cudaGetErrorString(status), " (", cudaGetErrorName(status),
                      "); last kernel launched: ", kernel_name(last_kernel),
                      "; TESSERA_SYNC=1 names the kernel at fault"));
}

void check(cudaError_t status, std::string_view call) {
  if (status != cudaSuccess) fail(status, call);
}

bool synchronous() {
  static const bool on = [] {
    const char* text = std::getenv("TESSERA_SYNC");
    return text && std::string_view(text) != "0" && *text;
  }();
  return on;
}

}  // namespace

void detail::check_launch(cudaError_t status, const void* kernel) {
  last_kernel = kernel;
  check(status, "launch");
  if (synchronous()) check(cudaStreamSynchronize(current_stream()), "kernel");
}

int device_count(std::string& why) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    why = cat("the CUDA runtime finds no GPU: ", cudaGetErrorString(status));
    return 0;
  }
  if (count == 0) why = "the CUDA runtime finds no GPU";
  return count < kMaxDevices ? count : kMaxDevices;
}

CudaDeviceInfo device_info(int index) {
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  const int before = selected;
  set_device(index);
  size_t free = 0, total = 0;
  memory_info(free, total);
  set_device(before);
  return {properties.name,
          properties.major,
          properties.minor,
          properties.multiProcessorCount,
          static_cast<int64_t>(total),
          static_cast<int64_t>(free)};
}

int current_device() { return selected; }

void set_device(int index) {
  thread_local int active = -1;
  if (index != active) check(cudaSetDevice(index), "cudaSetDevice");
  selected = active = index;
}

Stream current_stream() {
  // One for each GPU: streams of their own can be captured in graphs, the default one cannot.
  static std::array<Stream, kMaxDevices> streams{};
  Stream& stream = streams[static_cast<size_t>(selected)];
  if (!stream) check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
  return stream;
}

void* device_malloc(size_t bytes) {
  void* pointer = nullptr;
  const cudaError_t status = cudaMalloc(&pointer, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // this one does not stay
    return nullptr;
  }
  check(status, "cudaMalloc");
  return pointer;
}
void device_free(void* pointer) { check(cudaFree(pointer), "cudaFree"); }

void memory_info(size_t& free, size_t& total) {
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
}

void* pinned_malloc(size_t bytes) {
  void* pointer = nullptr;
  if (cudaMallocHost(&pointer, bytes) == cudaSuccess) return pointer;
  cudaGetLastError();
  return nullptr;
}
void pinned_free(void* pointer) { check(cudaFreeHost(pointer), "cudaFreeHost"); }

void copy_to_device(void* device, const void* host, size_t bytes) {
  check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, current_stream()),
        "copy to the GPU");
}
void copy_to_host(void* host, const void* device, size_t bytes) {
  check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, current_stream()),
        "copy from the GPU");
  synchronize();
}
void copy_on_device(void* to, const void* from, size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, current_stream()),
        "copy on the GPU");
}
void fill_bytes(void* device, int value, size_t bytes) {
  check(cudaMemsetAsync(device, value, bytes, current_stream()), "cudaMemset");
}

void synchronize() {
  check(cudaStreamSynchronize(current_stream()), "synchronize");
  raise_fault();
}

namespace {
// In host memory that the device can write: looking costs no call.
Fault* fault_record() {
  static std::array<Fault*, kMaxDevices> records{};
  Fault*& record = records[static_cast<size_t>(selected)];
  if (!record) {
    void* memory = nullptr;
    check(cudaHostAlloc(&memory, sizeof(Fault), cudaHostAllocMapped), "cudaHostAlloc");
    record = new (memory) Fault{};
  }
  return record;
}
}  // namespace

FaultReporter fault_reporter(const char* op) {
  raise_fault();
  void* on_device = nullptr;
  check(cudaHostGetDevicePointer(&on_device, fault_record(), 0), "cudaHostGetDevicePointer");
  return {static_cast<Fault*>(on_device), reinterpret_cast<unsigned long long>(op)};
}

void raise_fault() {
  Fault* record = fault_record();
  if (*static_cast<volatile unsigned long long*>(&record->taken) == 0) return;
  check(cudaStreamSynchronize(current_stream()), "synchronize");  // until all of it is written
  const Fault found = *record;
  *record = Fault{};
  throw ValueError(fault_message(found));
}

Event::Event() { check(cudaEventCreate(&handle_), "cudaEventCreate"); }
Event::~Event() { cudaEventDestroy(handle_); }
void Event::record(Stream stream) { check(cudaEventRecord(handle_, stream), "cudaEventRecord"); }
void Event::make_wait(Stream stream) const {
  check(cudaStreamWaitEvent(stream, handle_, 0), "cudaStreamWaitEvent");
}
void Event::synchronize() const { check(cudaEventSynchronize(handle_), "cudaEventSynchronize"); }
bool Event::done() const {
  const cudaError_t status = cudaEventQuery(handle_);
  if (status == cudaErrorNotReady) return false;
  check(status, "cudaEventQuery");
  return true;
}
float Event::elapsed_since(const Event& start) const {
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, start.handle_, handle_), "cudaEventElapsedTime");
  return milliseconds;
}

bool emulated() { return false; }

}  // namespace tessera::cuda

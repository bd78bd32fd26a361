#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "tensor/cuda_plugin.h"

struct CUstream_st;
struct CUevent_st;

/// The few calls to the GPU's runtime that the rest of the plug-in is written with. There are two
/// sets of definitions: cuda/runtime.cu on the CUDA runtime, cuda/emulator/runtime.cpp on the
/// emulator. Errors of the runtime throw CudaError, which names the call, the error and, where one
/// was launched before, the last kernel.
namespace tessera::cuda {

using Stream = CUstream_st*;
using EventHandle = CUevent_st*;

/// GPUs that can be used; 0 and the reason in `why` when there are none. Never throws.
int device_count(std::string& why);
CudaDeviceInfo device_info(int index);

/// The GPU that this thread's calls go to; 0 at first.
int current_device();
void set_device(int index);

/// The stream this thread's kernels are queued on, of the current device.
Stream current_stream();

/// Memory of the current device, aligned to 256 bytes; nullptr if there is not enough.
void* device_malloc(size_t bytes);
void device_free(void* pointer);
/// Free and total bytes of the current device.
void memory_info(size_t& free, size_t& total);

/// Pinned host memory, which copies to and from the device at full speed; nullptr if there is none.
void* pinned_malloc(size_t bytes);
void pinned_free(void* pointer);

/// Copies on the current stream. From and to pageable host memory they return when the host memory
/// may be used again.
void copy_to_device(void* device, const void* host, size_t bytes);
void copy_to_host(void* host, const void* device, size_t bytes);
void copy_on_device(void* to, const void* from, size_t bytes);
void fill_bytes(void* device, int value, size_t bytes);

/// Waits for all that was queued on the current device.
void synchronize();

/// A point in a stream's work.
class Event {
 public:
  Event();
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(Stream stream);
  /// Work queued on `stream` from now on waits for the recorded point.
  void make_wait(Stream stream) const;
  void synchronize() const;
  bool done() const;
  /// Milliseconds between two recorded events that are done.
  float elapsed_since(const Event& start) const;

 private:
  EventHandle handle_ = nullptr;
};

/// Whether kernels run on the CPU, under the emulator.
bool emulated();

}  // namespace tessera::cuda

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tessera {

struct CudaDeviceInfo {
  std::string name;
  int major = 0, minor = 0;  ///< compute capability
  int multiprocessors = 0;
  int64_t total_bytes = 0, free_bytes = 0;
};

/// What the search for GPUs has found. Where `devices` is empty, `reason` says why in one line.
struct CudaStatus {
  std::vector<CudaDeviceInfo> devices;
  std::string reason;
  std::string plugin;   ///< path of the plug-in; empty if none was loaded
  std::string runtime;  ///< what the plug-in runs on: "CUDA 13.0, cuBLAS 13.0, cuDNN 9.19"
};

/// Loads the CUDA plug-in on the first call: the file that TESSERA_CUDA_PLUGIN names ("none": no
/// plug-in), otherwise libtessera_cuda.so beside this library, and that only after the driver has
/// been asked for GPUs, which costs next to nothing where there is none. Never throws.
/// Thread-safe. Everything that needs a GPU calls it, so start-up costs nothing.
const CudaStatus& cuda_status();

/// Waits until the GPU has done all that was asked of it. DeviceError if there is no such device.
void cuda_synchronize(int index = 0);

/// The table through which libtessera talks to its plug-in; kernels register in their slots when
/// the plug-in is loaded. Exported by it as `tessera_cuda_plugin`.
struct CudaPlugin {
  static constexpr unsigned kAbi = 1;

  unsigned abi;
  const char* version;  ///< Tessera's, which must be that of the library
  std::string (*runtime)();
  /// Finds the GPUs and registers an allocator for each; none and the reason in `why` otherwise.
  std::vector<CudaDeviceInfo> (*start)(std::string& why);
  void (*set_device)(int index);
  void (*synchronize)();
};

}  // namespace tessera

// What libtessera finds in the plug-in.

#include "cuda/allocator.h"
#include "cuda/library.h"
#include "cuda/runtime.h"
#include "tensor/allocator.h"
#include "tensor/cuda_plugin.h"
#include "tensor/error.h"

namespace tessera::cuda {
namespace {

std::vector<CudaDeviceInfo> start(std::string& why) {
  std::vector<CudaDeviceInfo> devices;
  const int count = device_count(why);
  for (int i = 0; i < count; ++i) {
    devices.push_back(device_info(i));
    register_allocator({DeviceType::cuda, i}, &allocator_of(i));
  }
  return devices;
}

std::string runtime() { return cat(TESSERA_CUDA_RUNTIME, ", ", library::describe()); }

const CudaPlugin table{CudaPlugin::kAbi, TESSERA_VERSION, runtime, start, set_device, synchronize};

}  // namespace
}  // namespace tessera::cuda

extern "C" __attribute__((visibility("default"))) const tessera::CudaPlugin* tessera_cuda_plugin() {
  return &tessera::cuda::table;
}

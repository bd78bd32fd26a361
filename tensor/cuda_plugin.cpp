#include "tensor/cuda_plugin.h"

#include <dlfcn.h>

#include <cstdlib>
#include <exception>
#include <string_view>

#include "tensor/device.h"
#include "tensor/error.h"
#include "tensor/kernel_slot.h"

namespace tessera {
namespace {

const CudaPlugin* plugin = nullptr;

std::string directory_of_this_library() {
  Dl_info here;
  if (!dladdr(reinterpret_cast<void*>(&cuda_status), &here) || !here.dli_fname) return {};
  const std::string path = here.dli_fname;
  return path.substr(0, path.rfind('/') + 1);
}

// Asks the driver, which is there without any of CUDA's libraries; they take tenths of a second to
// load only to say the same.
bool driver_has_devices(std::string& why) {
  void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!driver) {
    why = "no NVIDIA driver (libcuda.so.1 was not found)";
    return false;
  }
  const auto init = reinterpret_cast<int (*)(unsigned)>(dlsym(driver, "cuInit"));
  const auto count = reinterpret_cast<int (*)(int*)>(dlsym(driver, "cuDeviceGetCount"));
  int devices = 0, status = 0;
  if (!init || !count) {
    why = "libcuda.so.1 is not a CUDA driver";
  } else if ((status = init(0)) != 0 || (status = count(&devices)) != 0) {
    why = cat("the NVIDIA driver reports error ", status);
    if (status == 100) why = "the NVIDIA driver finds no GPU";
  } else if (devices == 0) {
    why = "the NVIDIA driver finds no GPU";
  }
  return devices > 0;
}

const CudaPlugin* open_plugin(const std::string& path, std::string& why) {
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    why = cat("cannot load the CUDA plug-in: ", dlerror());
    return nullptr;
  }
  const auto get = reinterpret_cast<const CudaPlugin* (*)()>(dlsym(handle, "tessera_cuda_plugin"));
  const CudaPlugin* found = get ? get() : nullptr;
  if (!found || found->abi != CudaPlugin::kAbi ||
      found->version != std::string_view(TESSERA_VERSION)) {
    why = cat(path, " is not a plug-in of Tessera ", TESSERA_VERSION);
    return nullptr;
  }
  return found;
}

CudaStatus search() {
  CudaStatus status;
  const char* named = std::getenv("TESSERA_CUDA_PLUGIN");
  if (named && std::string_view(named) == "none") {
    status.reason = "switched off by TESSERA_CUDA_PLUGIN=none";
    return status;
  }
  if (!named && !driver_has_devices(status.reason)) return status;
  const std::string path = named ? named : directory_of_this_library() + "libtessera_cuda.so";
  const CudaPlugin* found = open_plugin(path, status.reason);
  if (!found) return status;
  status.plugin = path;
  try {
    status.devices = found->start(status.reason);
    if (!status.devices.empty()) status.runtime = found->runtime();
  } catch (const std::exception& e) {
    status.reason = e.what();
  }
  if (!status.devices.empty()) plugin = found;
  return status;
}

}  // namespace

const CudaStatus& cuda_status() {
  static const CudaStatus status = search();
  return status;
}

void cuda_synchronize(int index) {
  detail::select_cuda_device(index);
  plugin->synchronize();
}

void detail::select_cuda_device(int index) {
  const auto devices = static_cast<int>(cuda_status().devices.size());
  if (index < 0 || index >= devices)
    throw DeviceError(cat("device cuda:", index, " is not available: ",
                          devices == 1  ? "there is one GPU, cuda:0"
                          : devices > 1 ? cat("there are ", devices, " GPUs")
                                        : cuda_status().reason));
  plugin->set_device(index);
}

}  // namespace tessera

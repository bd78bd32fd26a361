#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>

namespace tessera {

enum class DeviceType : uint8_t { cpu, cuda };
inline constexpr int kDeviceTypeCount = 2;

/// Where a tensor's memory lives. The index numbers GPUs; it is 0 for the CPU.
struct Device {
  DeviceType type = DeviceType::cpu;
  int index = 0;
  bool operator==(const Device&) const = default;
  bool is_cpu() const { return type == DeviceType::cpu; }
};

inline constexpr Device kCpu{};

/// "cpu", "cuda:0".
std::string to_string(Device device);
/// Reads "cpu", "cuda", "cuda:1"; throws ValueError otherwise.
Device parse_device(const std::string& text);
std::ostream& operator<<(std::ostream& out, Device device);

namespace detail {
/// Makes a GPU the one that the thread's kernels run on; DeviceError if there is no such GPU.
void select_cuda_device(int index);
}  // namespace detail

}  // namespace tessera

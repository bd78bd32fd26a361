#include "tensor/device.h"

#include <charconv>
#include <ostream>

#include "tensor/error.h"

namespace tessera {

std::string to_string(Device device) {
  return device.is_cpu() ? "cpu" : cat("cuda:", device.index);
}

Device parse_device(const std::string& text) {
  if (text == "cpu") return kCpu;
  if (text == "cuda") return {DeviceType::cuda, 0};
  if (text.starts_with("cuda:")) {
    int index = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + 5, end, index);
    if (error == std::errc() && stop == end && index >= 0) return {DeviceType::cuda, index};
  }
  throw ValueError(cat("device must be cpu, cuda or cuda:N, got '", text, "'"));
}

std::ostream& operator<<(std::ostream& out, Device device) { return out << to_string(device); }

}  // namespace tessera

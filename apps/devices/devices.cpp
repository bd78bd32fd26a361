#include "apps/devices/devices.h"

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/common/output.h"
#include "tensor/cuda_plugin.h"
#include "tensor/error.h"
#include "tensor/parallel.h"

namespace tessera::apps {
namespace {

using nlohmann::json;

double gib(int64_t bytes) { return static_cast<double>(bytes) / (1024.0 * 1024.0 * 1024.0); }

json describe(const CudaStatus& status) {
  json list = json::array({{{"device", "cpu"}, {"threads", num_threads()}}});
  for (size_t i = 0; i < status.devices.size(); ++i) {
    const CudaDeviceInfo& d = status.devices[i];
    list.push_back({{"device", cat("cuda:", i)},
                    {"name", d.name},
                    {"compute_capability", cat(d.major, ".", d.minor)},
                    {"multiprocessors", d.multiprocessors},
                    {"total_bytes", d.total_bytes},
                    {"free_bytes", d.free_bytes}});
  }
  json result{{"devices", list}};
  if (!status.runtime.empty()) result["cuda_runtime"] = status.runtime;
  if (!status.plugin.empty()) result["cuda_plugin"] = status.plugin;
  if (status.devices.empty()) result["cuda_unavailable"] = status.reason;
  return result;
}

void print(const CudaStatus& status) {
  std::printf("cpu     %d threads\n", num_threads());
  for (size_t i = 0; i < status.devices.size(); ++i) {
    const CudaDeviceInfo& d = status.devices[i];
    std::printf("cuda:%zu  %s, compute capability %d.%d, %.1f of %.1f GiB free (%s)\n", i,
                d.name.c_str(), d.major, d.minor, gib(d.free_bytes), gib(d.total_bytes),
                status.runtime.c_str());
  }
  if (status.devices.empty()) std::printf("cuda    not available: %s\n", status.reason.c_str());
}

}  // namespace

void add_devices_command(CLI::App& parent) {
  auto as_json = std::make_shared<bool>(false);
  CLI::App* c = parent.add_subcommand("devices", "List what can be computed on");
  c->add_flag("--json", *as_json, "Print one JSON object");
  c->callback([as_json] {
    const CudaStatus& status = cuda_status();
    if (*as_json)
      std::printf("%s\n", json_text(describe(status)).c_str());
    else
      print(status);
  });
}

}  // namespace tessera::apps

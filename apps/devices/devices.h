#pragma once

#include <CLI/CLI.hpp>

namespace tessera::apps {

/// tessera devices: the CPU and the GPUs that can be computed on, with the reason where there is no
/// GPU. Always succeeds.
void add_devices_command(CLI::App& parent);

}  // namespace tessera::apps

#pragma once

#include <CLI/CLI.hpp>

namespace tessera::apps {

/// Adds the commands train, test, rank and demo to `parent` ("tessera reid", or train_reid itself).
void add_reid_commands(CLI::App& parent);

}  // namespace tessera::apps

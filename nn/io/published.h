#pragma once

#include <string>
#include <utility>
#include <vector>

#include "nn/module.h"

namespace tessera::nn::io {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// Appends the entries with their names prefixed, in the published layouts.
void append_published(NamedTensors& out, const std::string& prefix, const StateDict& entries);

/// The entries of `source` whose names start with `prefix`, without it, as views in the layouts
/// that `like` states by name (plain for names it lacks). A filter entry that is not 4-D stays as
/// it is and is reported as mis-shaped by whoever loads it.
StateDict take_published(const NamedTensors& source, const std::string& prefix,
                         const StateDict& like);

}  // namespace tessera::nn::io

#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "nn/module.h"

namespace tessera::nn::io {

/// Writes parameters and persistent buffers as safetensors under torch's names and in torch's
/// layouts, so that other programs read them as their own. Atomic; IoError naming the file.
void save_weights(const Module& module, const std::filesystem::path& path,
                  const std::map<std::string, std::string>& metadata = {});

/// Reads a safetensors file into the module (load_state_dict's rules and errors, prefixed with the
/// file's name). Prefixes left by wrappers ("module.", "_orig_mod.") are removed when all names
/// have them.
LoadReport load_weights(Module& module, const std::filesystem::path& path, bool strict = true);

}  // namespace tessera::nn::io

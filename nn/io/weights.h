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

/// Reads a safetensors file into the module, one tensor at a time (load_state_dict's rules and
/// errors, prefixed with the file's name). Prefixes left by wrappers ("module.", "_orig_mod.") are
/// removed when all names have them, and the first DenseNet files' "denselayer1.norm.2" is read as
/// "denselayer1.norm2". An IoError in the middle of the data leaves the module partly loaded.
LoadReport load_weights(Module& module, const std::filesystem::path& path, bool strict = true);

}  // namespace tessera::nn::io

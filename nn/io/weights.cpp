#include "nn/io/weights.h"

#include <algorithm>
#include <unordered_map>

#include "io/safetensors.h"
#include "nn/io/published.h"

namespace tessera::nn::io {

void append_published(NamedTensors& out, const std::string& prefix, const StateDict& entries) {
  for (const StateEntry& e : entries)
    out.emplace_back(prefix + e.name, to_published(e.tensor, e.layout));
}

StateDict take_published(const NamedTensors& source, const std::string& prefix,
                         const StateDict& like) {
  std::unordered_map<std::string, Layout> layouts;
  for (const StateEntry& e : like) layouts[e.name] = e.layout;
  StateDict out;
  for (const auto& [full, tensor] : source) {
    if (!full.starts_with(prefix)) continue;
    const std::string name = full.substr(prefix.size());
    const auto found = layouts.find(name);
    const Layout layout = found == layouts.end() ? Layout::plain : found->second;
    const bool translate = layout == Layout::filter && tensor.rank() == 4;
    out.push_back({name, translate ? from_published(tensor, layout) : tensor, layout});
  }
  return out;
}

void save_weights(const Module& module, const std::filesystem::path& path,
                  const std::map<std::string, std::string>& metadata) {
  NamedTensors tensors;
  append_published(tensors, "", module.state_dict());
  tessera::io::write_safetensors(path, tensors, metadata);
}

LoadReport load_weights(Module& module, const std::filesystem::path& path, bool strict) {
  const tessera::io::Safetensors file = tessera::io::read_safetensors(path);
  std::string prefix;
  for (const char* wrapper : {"module.", "_orig_mod."}) {
    const bool all = !file.tensors.empty() &&
                     std::all_of(file.tensors.begin(), file.tensors.end(), [&](const auto& entry) {
                       return entry.first.starts_with(prefix + wrapper);
                     });
    if (all) prefix += wrapper;
  }
  try {
    return module.load_state_dict(take_published(file.tensors, prefix, module.state_dict()),
                                  strict);
  } catch (const ValueError& e) {
    throw ValueError(cat(path.string(), ": ", e.what()));
  }
}

}  // namespace tessera::nn::io

#include "nn/io/weights.h"

#include <algorithm>
#include <unordered_map>

#include "io/safetensors.h"
#include "nn/io/published.h"
#include "tensor/view.h"

namespace tessera::nn::io {
namespace {

using tessera::io::SafetensorsFile;

// Every name behind the wrappers' prefixes, where all names have them.
std::string wrapper_prefix(const SafetensorsFile& file) {
  std::string prefix;
  for (const char* wrapper : {"module.", "_orig_mod."}) {
    const bool all = !file.entries().empty() &&
                     std::all_of(file.entries().begin(), file.entries().end(), [&](const auto& e) {
                       return e.name.starts_with(prefix + wrapper);
                     });
    if (all) prefix += wrapper;
  }
  return prefix;
}

// The first published DenseNets say "denselayer1.norm.2.bias" for denselayer1.norm2.bias.
std::string renamed(std::string name) {
  for (const char* old : {".norm.1.", ".norm.2.", ".conv.1.", ".conv.2."}) {
    const size_t at = name.find(old), layer = name.rfind("denselayer", at);
    if (at != name.npos && layer != name.npos) return name.erase(at + 5, 1);
  }
  return name;
}

using Layouts = std::unordered_map<std::string, Layout>;

Layouts layouts_of(const StateDict& entries) {
  Layouts layouts;
  for (const StateEntry& e : entries) layouts[e.name] = e.layout;
  return layouts;
}

Layout layout_of(const Layouts& layouts, const std::string& name) {
  const auto found = layouts.find(name);
  return found == layouts.end() ? Layout::plain : found->second;
}

// from_published without the copy.
Tensor view_of_published(const Tensor& tensor, Layout layout) {
  const bool translate = layout == Layout::filter && tensor.rank() == 4;
  return translate ? view::permute(tensor, {0, 2, 3, 1}) : tensor;
}

}  // namespace

void append_published(NamedTensors& out, const std::string& prefix, const StateDict& entries) {
  for (const StateEntry& e : entries)
    out.emplace_back(prefix + e.name, to_published(e.tensor, e.layout));
}

StateDict take_published(const NamedTensors& source, const std::string& prefix,
                         const StateDict& like) {
  const Layouts layouts = layouts_of(like);
  StateDict out;
  for (const auto& [full, tensor] : source) {
    if (!full.starts_with(prefix)) continue;
    const std::string name = full.substr(prefix.size());
    const Layout layout = layout_of(layouts, name);
    out.push_back({name, view_of_published(tensor, layout), layout});
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
  const SafetensorsFile file(path);
  const std::string prefix = wrapper_prefix(file);
  const Layouts layouts = layouts_of(module.state_dict());
  StateDict described;
  for (const SafetensorsFile::Entry& e : file.entries()) {
    std::string name = e.name.substr(prefix.size());
    if (!layouts.contains(name) && layouts.contains(renamed(name))) name = renamed(name);
    const Layout layout = layout_of(layouts, name);
    // Has the shape, but no memory.
    const Tensor shape_only = view::broadcast_to(zeros({}, e.dtype), e.shape);
    described.push_back({name, view_of_published(shape_only, layout), layout});
  }
  const auto fill = [&](size_t i, Tensor& target) {
    const SafetensorsFile::Entry& e = file.entries()[i];
    Tensor published = described[i].layout == Layout::filter
                           ? view::permute(target.detach(), {0, 3, 1, 2})
                           : target.detach();
    // 1 x 1 and depthwise filters lie in memory as in the file.
    const bool same = published.dtype() == e.dtype && published.is_contiguous();
    if (same && published.device().is_cpu()) return file.read_into(e, published);
    copy_(target, view_of_published(file.read(e), described[i].layout));
  };
  try {
    return module.load_state_dict(described, fill, strict);
  } catch (const ValueError& e) {
    throw ValueError(cat(path.string(), ": ", e.what()));
  }
}

}  // namespace tessera::nn::io

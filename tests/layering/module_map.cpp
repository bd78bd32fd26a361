#include "tests/layering/module_map.h"

#include <algorithm>
#include <fstream>
#include <regex>
#include <sstream>

namespace tessera::testing {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string_view>;

/// What the files of one folder may include. The longest matching folder decides.
struct Rule {
  std::string_view folder;
  Names ours;      // folders of the tree, with all below them
  Names external;  // headers in <> beside the standard library's, with POSIX where kPosix is listed
};

constexpr std::string_view kPosix = "posix";

const std::vector<Rule>& rules() {
  static const std::vector<Rule> table = {
      {"tensor", {"tensor"}, {kPosix}},
      {"tensor/allocator.cpp", {"tensor"}, {kPosix, "sanitizer/asan_interface.h"}},
      {"tensor/cuda_plugin.cpp", {"tensor"}, {kPosix, "dlfcn.h"}},
      {"tensor/parallel.cpp", {"tensor"}, {kPosix, "omp.h"}},
      {"tensor/stream.h", {"tensor"}, {"immintrin.h"}},
      {"autograd", {"autograd", "tensor"}, {}},
      {"cuda", {"cuda", "tensor"}, {"cuda.h", "cuda_runtime.h", "mma.h"}},
      {"cuda/emulator",
       {"cuda", "tensor"},
       {kPosix, "elf.h", "link.h", "ucontext.h", "sanitizer/asan_interface.h",
        "sanitizer/common_interface_defs.h"}},
      {"cuda/library", {"cuda", "tensor"}, {"cublas_v2.h", "cudnn.h", "dlfcn.h"}},
      {"ops", {"ops", "autograd", "tensor"}, {}},
      {"ops/cpu", {"ops", "autograd", "tensor"}, {"immintrin.h"}},
      {"io", {"io", "tensor"}, {kPosix, "nlohmann/json.hpp", "zip.h", "zlib.h"}},
      {"nn", {"nn", "ops", "autograd", "tensor"}, {}},
      {"nn/io", {"nn", "io", "ops", "autograd", "tensor"}, {"nlohmann/json.hpp"}},
      {"data", {"data", "io", "tensor"}, {kPosix, "jerror.h", "jpeglib.h", "png.h", "zlib.h"}},
      {"models", {"models", "nn", "data", "io", "ops", "autograd", "tensor"}, {}},
      {"apps",
       {"apps", "models", "nn", "data", "io", "ops", "autograd", "tensor"},
       {kPosix, "CLI/CLI.hpp", "nlohmann/json.hpp", "nlohmann/json_fwd.hpp"}},
      {"apps/common",
       {"apps/common", "data", "io", "tensor"},
       {kPosix, "CLI/CLI.hpp", "nlohmann/json.hpp", "nlohmann/json_fwd.hpp"}},
      {"bench", {}, {}},
      {"tests", {}, {}},
  };
  return table;
}

// bench/ and tests/ may include everything.
bool is_free(const Rule& rule) { return rule.ours.empty(); }

bool is_below(std::string_view path, std::string_view folder) {
  return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
}

const Rule* rule_of(std::string_view file) {
  const Rule* best = nullptr;
  for (const Rule& rule : rules())
    if (is_below(file, rule.folder) && (!best || rule.folder.size() > best->folder.size()))
      best = &rule;
  return best;
}

std::string_view folder_of(std::string_view path) { return path.substr(0, path.rfind('/')); }

// "apps/reid" of "apps/reid/trainer.h".
std::string_view program_of(std::string_view path) {
  return path.substr(0, path.find('/', std::string_view("apps/").size()));
}

std::string ours_violation(const Rule& rule, std::string_view file, std::string_view include) {
  if (include.find('/') == std::string_view::npos) return "not a full path from the root";
  const std::string allowed(rule.folder);
  bool ok = false;
  for (const std::string_view folder : rule.ours) ok = ok || is_below(include, folder);
  const bool device_code = file.ends_with(".cu") || file.ends_with(".cuh");
  if (is_below(file, "ops") && device_code) ok = ok || is_below(include, "cuda");
  if (!ok) return allowed + " may not include " + std::string(folder_of(include));
  if (is_below(include, "nn/io") && rule.folder == "nn")
    return "only nn/io knows file formats: the reference build leaves it out";
  if (is_below(file, "apps") && is_below(include, "apps") && !is_below(include, "apps/common") &&
      !is_below(file, "apps/tessera") && program_of(file) != program_of(include))
    return "programs share apps/common only";
  return {};
}

std::string external_violation(const Rule& rule, std::string_view file, std::string_view include) {
  if (include.find_first_of("./") == std::string_view::npos) return {};  // standard library
  static const Names posix = {"fcntl.h", "poll.h", "pthread.h", "sched.h", "signal.h", "unistd.h"};
  const auto lists = [](const Names& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  if (lists(rule.external, include)) return {};
  if (lists(rule.external, kPosix) && (lists(posix, include) || include.starts_with("sys/")))
    return {};
  const std::string_view stem = file.substr(0, file.rfind('.'));
  const bool onednn = stem.ends_with("/onednn") || stem.ends_with("_onednn");
  if (is_below(file, "ops") && onednn && (include == "dnnl.hpp" || include == "omp.h")) return {};
  return std::string(rule.folder) + " may not use this library";
}

}  // namespace

std::string to_string(const LayerViolation& v) {
  std::ostringstream out;
  out << v.file;
  if (v.line > 0) out << ':' << v.line << ": includes " << v.include;
  out << ": " << v.reason;
  return out.str();
}

std::vector<LayerViolation> check_includes(const std::string& file, std::string_view text) {
  const Rule* rule = rule_of(file);
  if (!rule) return {{file, 0, "", "its folder is not in the module map"}};
  std::vector<LayerViolation> found;
  if (is_free(*rule)) return found;
  static const std::regex pattern(R"(^\s*#\s*include\s*(["<])([^">]+)[">])");
  std::istringstream lines{std::string(text)};
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::smatch match;
    if (!std::regex_search(line, match, pattern)) continue;
    const std::string include = match[2];
    const std::string reason = match[1] == "\"" ? ours_violation(*rule, file, include)
                                                : external_violation(*rule, file, include);
    if (!reason.empty()) found.push_back({file, number, include, reason});
  }
  return found;
}

namespace {

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

// Quoted includes that name no file of the tree.
void check_existence(const fs::path& root, const std::string& file, const std::string& text,
                     std::vector<LayerViolation>& found) {
  static const std::regex pattern(R"re(^\s*#\s*include\s*"([^"]+)")re");
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::smatch match;
    if (std::regex_search(line, match, pattern) && !fs::is_regular_file(root / match[1].str()))
      found.push_back({file, number, match[1], "there is no such file"});
  }
}

}  // namespace

std::vector<LayerViolation> check_tree(const fs::path& root, int* files) {
  static const Names suffixes = {".h", ".cpp", ".cu", ".cuh"};
  std::vector<std::string> sources;
  for (auto it = fs::recursive_directory_iterator(root); it != fs::end(it); ++it) {
    const std::string name = it->path().filename().string();
    if (it->is_directory()) {
      const bool top = it.depth() == 0;
      if (name.starts_with('.') || (top && (name == "build" || name == "runs")))
        it.disable_recursion_pending();
    } else if (std::find(suffixes.begin(), suffixes.end(), it->path().extension().string()) !=
               suffixes.end()) {
      sources.push_back(it->path().lexically_relative(root).generic_string());
    }
  }
  std::sort(sources.begin(), sources.end());
  std::vector<LayerViolation> found;
  for (const std::string& file : sources) {
    const std::string text = read(root / file);
    for (LayerViolation& v : check_includes(file, text)) found.push_back(std::move(v));
    check_existence(root, file, text, found);
  }
  if (files) *files = static_cast<int>(sources.size());
  return found;
}

}  // namespace tessera::testing

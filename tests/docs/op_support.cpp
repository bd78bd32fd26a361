// Prints docs/op_support.md: which kernel slot has a kernel for which device. With --check FILE it
// compares instead, and fails for an operator without a CPU kernel.
//   op_support SOURCE_DIR [--check FILE]

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tensor/cuda_plugin.h"
#include "tensor/kernel_slot.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  TESSERA_CHECK(IoError, in, path.string(), ": cannot be read");
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::string without_comments(const std::string& text) {
  std::istringstream lines(text);
  std::string line, out;
  while (std::getline(lines, line)) out += line.substr(0, line.find("//")) + "\n";
  return out;
}

// "extern KernelSlot<void(const Tensor&, Tensor&)> minimum, maximum" to {minimum, maximum}.
std::vector<std::string> declared_names(const std::string& statement) {
  std::string flat;
  int depth = 0;
  for (const char c : statement) {
    depth -= c == '>';
    if (depth == 0) flat += c == '>' || c == ',' ? ' ' : c;
    if (c == '<' && depth++ == 0) flat.back() = ' ';
  }
  std::istringstream words(flat);
  std::string word, type;
  std::vector<std::string> names;
  if (!(words >> word) || word != "extern" || !(words >> type)) return names;
  while (words >> word) names.push_back(word);
  return names;
}

// The slots that a header declares in `namespace kernel {` or `namespace tessera::kernel {`.
std::vector<std::string> slots_of_header(const std::string& header) {
  const std::string text = without_comments(header), opening = "kernel {";
  std::vector<std::string> names;
  for (size_t at = text.find(opening); at != std::string::npos; at = text.find(opening, at)) {
    at += opening.size();
    std::string statement;
    for (int depth = 1; depth > 0 && at < text.size(); ++at) {
      const char c = text[at];
      depth += (c == '{') - (c == '}');
      if (c != ';') {
        statement += c;
        continue;
      }
      for (std::string& name : declared_names(statement)) names.push_back(std::move(name));
      statement.clear();
    }
  }
  return names;
}

// Slot name to header, e.g. "softplus" to "ops/pointwise/logistic.h".
std::map<std::string, std::string> declared_slots(const fs::path& root) {
  std::map<std::string, std::string> slots;
  for (const char* folder : {"tensor", "ops"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      if (entry.path().extension() != ".h") continue;
      const std::string header = entry.path().lexically_relative(root).generic_string();
      for (const std::string& name : slots_of_header(read(entry.path()))) {
        const auto [at, is_new] = slots.emplace(name, header);
        TESSERA_CHECK(ValueError, is_new, "slot ", name, " is declared in ", at->second, " and in ",
                      header);
      }
    }
  }
  return slots;
}

struct Table {
  std::string text;
  std::vector<std::string> problems;
};

// `transfer` moves bytes between the host and a device; there is nothing to do on the host alone.
bool needs_cpu(const std::string& name) { return name != "transfer"; }

Table make_table(const fs::path& root) {
  std::map<std::string, const KernelSlotBase*> filled;
  for (const KernelSlotBase* slot : KernelSlotBase::all()) filled[slot->name()] = slot;
  std::map<std::string, std::map<std::string, std::string>> by_folder;
  Table table;
  int count = 0;
  for (const auto& [name, header] : declared_slots(root)) {
    const auto at = filled.find(name);
    const auto cell = [&](DeviceType device) {
      return at != filled.end() && at->second->has(device) ? "yes" : "-";
    };
    by_folder[header.substr(0, header.rfind('/'))][name] =
        cat("| `", name, "` | [", header, "](../", header, ") | ", cell(DeviceType::cpu), " | ",
            cell(DeviceType::cuda), " |\n");
    if (needs_cpu(name) && (at == filled.end() || !at->second->has(DeviceType::cpu)))
      table.problems.push_back(header + ": slot " + name + " has no CPU kernel");
    if (at != filled.end()) filled.erase(at);
    ++count;
  }
  for (const auto& [name, slot] : filled)
    table.problems.push_back("slot " + name + " is filled, but no header declares that name");
  table.text =
      cat("# Operator support\n\n<!-- Made by scripts/op_support.sh; edits are lost. -->\n\n",
          "The ", count, " kernel slots of the library and the devices they have a kernel for. ",
          "Functions that compose others need no kernel and are not listed.\n");
  for (const auto& [folder, rows] : by_folder) {
    table.text +=
        cat("\n## ", folder, "\n\n| slot | declared in | cpu | cuda |\n|---|---|---|---|\n");
    for (const auto& [name, row] : rows) table.text += row;
  }
  return table;
}

int run(const std::vector<std::string>& args) {
  const bool check = args.size() == 3 && args[1] == "--check";
  if (args.size() != 1 && !check) {
    std::cerr << "usage: op_support SOURCE_DIR [--check FILE]\n";
    return 2;
  }
  Table table = make_table(args[0]);
  if (!check) std::cout << table.text;
  if (check && read(args[2]) != table.text)
    table.problems.push_back(args[2] + " is out of date: run scripts/op_support.sh");
  for (const std::string& problem : table.problems) std::cerr << problem << "\n";
  return table.problems.empty() ? 0 : 1;
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  try {
    tessera::cuda_status();  // loads the plug-in, whose kernels then are in the slots
    return tessera::run({argv + 1, argv + argc});
  } catch (const std::exception& e) {
    std::cerr << e.what() << "\n";
    return 1;
  }
}

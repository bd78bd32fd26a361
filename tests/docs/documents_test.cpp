// What the documents name must exist: relative links, pictures and the files in `backticks`.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

namespace tessera::testing {
namespace {

namespace fs = std::filesystem;

const fs::path kRoot = TESSERA_SOURCE_DIR;

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::vector<fs::path> documents() {
  std::vector<fs::path> found;
  for (const fs::path& folder : {kRoot, kRoot / "docs"})
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".md") found.push_back(entry.path());
  return found;
}

// Without fenced blocks.
std::string prose(const std::string& text) {
  std::istringstream lines(text);
  std::string line, out;
  bool code = false;
  while (std::getline(lines, line)) {
    if (line.starts_with("```"))
      code = !code;
    else if (!code)
      out += line + "\n";
  }
  return out;
}

std::vector<std::string> matches(const std::string& text, const std::regex& pattern) {
  std::vector<std::string> found;
  for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it)
    found.push_back((*it)[1]);
  return found;
}

// Links and pictures of `text` that are neither addresses nor files relative to `folder`.
std::vector<std::string> broken_links(const std::string& text, const fs::path& folder) {
  static const std::regex pattern(R"(\]\(([^)#\s]+)(?:#[^)\s]*)?\))");
  std::vector<std::string> broken;
  for (const std::string& link : matches(prose(text), pattern))
    if (link.find("://") == std::string::npos && !fs::exists(folder / link)) broken.push_back(link);
  return broken;
}

// `folder/.../name.ext` in backticks that is no file of the tree; `added` are files that the
// document itself brings.
std::vector<std::string> missing_files(const std::string& text,
                                       const std::set<std::string>& added) {
  static const std::regex pattern(
      R"(`([a-z_0-9.]+(?:/[A-Za-z0-9_.]+)+\.(?:h|cpp|cu|cuh|sh|md|txt|cmake|py)))"
      "`");
  std::vector<std::string> missing;
  const auto is_added = [&](const std::string& file) {  // a kernel may follow its operator
    return added.contains(file) || added.contains(file.substr(0, file.rfind('.')) + ".cpp");
  };
  for (const std::string& file : matches(prose(text), pattern))
    if (!is_added(file) && !fs::exists(kRoot / file)) missing.push_back(file);
  return missing;
}

TEST(Documents, LinksLeadSomewhere) {
  ASSERT_GE(documents().size(), 7u);
  for (const fs::path& document : documents())
    for (const std::string& link : broken_links(read(document), document.parent_path()))
      ADD_FAILURE() << document.filename() << " links to " << link;
}

TEST(Documents, NamedFilesExist) {
  static const std::regex block(R"(```cpp (\S+))");
  for (const fs::path& document : documents()) {
    const std::string text = read(document);
    const auto own = matches(text, block);
    for (const std::string& file : missing_files(text, {own.begin(), own.end()}))
      ADD_FAILURE() << document.filename() << " names " << file;
  }
}

TEST(Documents, EveryCudaFileHasAGpuStatus) {
  const std::string status = read(kRoot / "docs/gpu-status.md");
  int files = 0;
  for (const char* folder : {"cuda", "ops"})
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
      if (entry.path().extension() != ".cu") continue;
      const std::string name = entry.path().lexically_relative(kRoot).generic_string();
      EXPECT_NE(status.find("`" + name + "`"), std::string::npos) << name << " is not listed";
      ++files;
    }
  EXPECT_GT(files, 40);
}

TEST(Documents, ChecksFindWhatIsMissing) {
  EXPECT_EQ(
      broken_links("[a](docs/nowhere.md) [b](README.md#x) ![c](no.png) [d](https://e.org)", kRoot),
      (std::vector<std::string>{"docs/nowhere.md", "no.png"}));
  EXPECT_EQ(
      missing_files("see `tensor/nothing.h`, `tensor/shape.h` and `ops/new.cpp`", {"ops/new.cpp"}),
      (std::vector<std::string>{"tensor/nothing.h"}));
  EXPECT_TRUE(missing_files("```\n`tensor/nothing.h`\n```\n", {}).empty());
}

}  // namespace
}  // namespace tessera::testing

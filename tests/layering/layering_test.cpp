// Every #include of the tree against the module map of docs/architecture.md, and the checker itself
// against samples that break it.

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "tests/layering/module_map.h"

namespace tessera::testing {
namespace {

namespace fs = std::filesystem;

std::string report(const std::vector<LayerViolation>& violations) {
  std::string text;
  for (const LayerViolation& v : violations) text += to_string(v) + "\n";
  return text;
}

TEST(Layering, TreeFollowsTheModuleMap) {
  int files = 0;
  const std::vector<LayerViolation> violations = check_tree(TESSERA_SOURCE_DIR, &files);
  EXPECT_TRUE(violations.empty()) << report(violations);
  EXPECT_GT(files, 100) << "the walk does not see the tree";
}

struct Sample {
  const char* file;
  const char* line;
  const char* reason;  // part of it; empty: allowed
};

const Sample kSamples[] = {
    {"tensor/a.cpp", "#include \"tensor/shape.h\"", ""},
    {"tensor/a.cpp", "#include <sys/mman.h>", ""},
    {"tensor/a.cpp", "#include <omp.h>", "library"},
    {"tensor/parallel.cpp", "#include <omp.h>", ""},
    {"tensor/stream.h", "#include <immintrin.h>", ""},
    {"tensor/copy.cpp", "#include <immintrin.h>", "library"},
    {"tensor/a.h", "#include \"autograd/node.h\"", "tensor may not include autograd"},
    {"tensor/a.cpp", "  #  include \"ops/pointwise/relu.h\"", "tensor may not include ops"},
    {"autograd/a.cpp", "#include \"ops/reduce/sum.h\"", "autograd may not include ops"},
    {"autograd/a.cpp", "#include <nlohmann/json.hpp>", "library"},
    {"ops/conv/a_onednn.cpp", "#include <dnnl.hpp>", ""},
    {"ops/cpu/onednn.h", "#include <dnnl.hpp>", ""},
    {"ops/conv/a.cpp", "#include <dnnl.hpp>", "library"},
    {"ops/conv/a.cpp", "#include <immintrin.h>", "library"},
    {"ops/cpu/a.h", "#include <immintrin.h>", ""},
    {"ops/conv/a.cpp", "#include \"cuda/device.h\"", "ops may not include cuda"},
    {"cuda/a.cpp", "#include <link.h>", "library"},
    {"cuda/a.h", "#include \"ops/conv/conv2d.h\"", "cuda may not include ops"},
    {"cuda/emulator/a.cpp", "#include <link.h>", ""},
    {"cuda/emulator/a.cpp", "#include <cuda_runtime.h>", "library"},
    {"ops/conv/a.cu", "#include \"cuda/device.h\"", ""},
    {"ops/conv/a.cpp", "#include \"nn/module.h\"", "ops may not include nn"},
    {"nn/module.cpp", "#include \"io/npz.h\"", "nn may not include io"},
    {"nn/module.cpp", "#include \"nn/io/weights.h\"", "nn/io"},
    {"nn/io/weights.cpp", "#include \"io/npz.h\"", ""},
    {"nn/module.cpp", "#include \"cuda/device.h\"", "nn may not include cuda"},
    {"data/a.cpp", "#include \"ops/image/resize.h\"", "data may not include ops"},
    {"data/a.cpp", "#include <jpeglib.h>", ""},
    {"models/a/a.cpp", "#include <jpeglib.h>", "library"},
    {"models/a/a.cpp", "#include \"apps/common/log.h\"", "models may not include apps"},
    {"apps/common/a.cpp", "#include \"models/registry.h\"", "apps/common may not include models"},
    {"apps/reid/a.cpp", "#include \"apps/bench/bench.h\"", "programs share"},
    {"apps/tessera/main.cpp", "#include \"apps/bench/bench.h\"", ""},
    {"models/a/a.cpp", "#include \"tests/ops/op_case.h\"", "models may not include tests"},
    {"nn/a.cpp", "#include \"bench/a.h\"", "nn may not include bench"},
    {"nn/a.cpp", "#include \"module.h\"", "full path"},
    {"nn/a.cpp", "#include <vector>", ""},
    {"bench/a.cpp", "#include \"tests/ops/op_case.h\"", ""},
    {"elsewhere/a.cpp", "#include <vector>", "not in the module map"},
};

TEST(Layering, CheckerFindsEachKindOfBreach) {
  for (const Sample& s : kSamples) {
    SCOPED_TRACE(std::string(s.file) + ": " + s.line);
    const auto found = check_includes(s.file, std::string("#pragma once\n") + s.line + "\n");
    if (*s.reason == '\0') {
      EXPECT_TRUE(found.empty()) << report(found);
      continue;
    }
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].file, s.file);
    EXPECT_NE(found[0].reason.find(s.reason), std::string::npos) << found[0].reason;
  }
}

TEST(Layering, MessageNamesFileLineAndInclude) {
  const auto found = check_includes("autograd/a.cpp", "\n\n#include \"nn/module.h\"\n");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(to_string(found[0]),
            "autograd/a.cpp:3: includes nn/module.h: autograd may not include nn");
}

TEST(Layering, WalkFindsABreachInATree) {
  std::string pattern = (fs::temp_directory_path() / "layering.XXXXXX").string();
  ASSERT_NE(mkdtemp(pattern.data()), nullptr);
  const fs::path root = pattern;
  const auto write = [&](const fs::path& file, const char* text) {
    fs::create_directories((root / file).parent_path());
    std::ofstream(root / file) << text;
  };
  write("tensor/good.h", "#include <vector>\n");
  write("tensor/bad.cpp", "#include \"tensor/good.h\"\n#include \"nn/layer.h\"\n");
  write("nn/layer.h", "#include \"tensor/gone.h\"\n");
  write("build/tensor/skipped.cpp", "#include \"nn/layer.h\"\n");
  write(".cache/skipped.cpp", "#include \"nn/layer.h\"\n");
  int files = 0;
  const auto found = check_tree(root, &files);
  fs::remove_all(root);
  EXPECT_EQ(files, 3);
  ASSERT_EQ(found.size(), 2u) << report(found);
  EXPECT_EQ(found[0].include, "tensor/gone.h");
  EXPECT_EQ(found[1].file, "tensor/bad.cpp");
  EXPECT_EQ(found[1].include, "nn/layer.h");
}

}  // namespace
}  // namespace tessera::testing

// `tessera bench --profile` and TESSERA_PROFILE, run as programs.

#include "apps/common/profile.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "io/read_file.h"
#include "tests/apps/program.h"

namespace tessera::apps {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::Outcome;
using testing::run_program;
using Args = std::vector<std::string>;

Args bench(const Args& more) {
  Args args{"bench", "--model", "resnet18", "--batch", "2", "--size", "32", "--seconds", "0"};
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

const json* find(const json& profile, const std::string& kernel, const std::string& where) {
  for (const json& k : profile["kernels"])
    if (k["kernel"] == kernel && k["where"] == where) return &k;
  return nullptr;
}

void expect_adds_up(const json& profile) {
  double sum = profile["outside_ms"];
  double last = INFINITY;
  for (const json& k : profile["kernels"]) {
    const double ms = k["ms"], step = profile["step_ms"];
    EXPECT_GE(ms, 0) << k;
    EXPECT_LE(ms, last) << k;
    EXPECT_NEAR(k["share"].get<double>(), ms / step, 1e-9) << k;
    last = ms;
    sum += ms;
  }
  EXPECT_NEAR(sum, profile["step_ms"].get<double>(), 1e-3 * sum);
}

TEST(BenchProfile, TrainingSteps) {
  const Outcome run = run_program("tessera", bench({"--mode", "train", "--profile", "--json"}));
  ASSERT_EQ(run.code, 0) << run.err;
  const json result = json::parse(run.out), &profile = result["profile"];
  expect_adds_up(profile);
  EXPECT_EQ(profile["steps"], result["steps"]);
  const json* forward = find(profile, "conv2d", "forward");
  const json* input = find(profile, "conv2d_input_grad", "backward/conv2d");
  const json* weight = find(profile, "conv2d_weight_grad", "backward/conv2d");
  const json* update = find(profile, "sgd_update", "optimizer");
  const json* gemm = find(profile, "gemm", "forward");
  ASSERT_TRUE(forward && input && weight && update && gemm) << profile.dump(1);
  EXPECT_EQ((*forward)["calls"], 20);
  EXPECT_EQ((*input)["calls"], 19);  // images need no gradient
  EXPECT_EQ((*weight)["calls"], 20);
  EXPECT_TRUE((*update)["gflops"].is_null());
  EXPECT_GT((*update)["gbps"].get<double>(), 0);
  // What the slots count is what the network's layers count.
  double flops = 0;
  for (const json* k : {forward, gemm})
    flops += (*k)["gflops"].get<double>() * (*k)["ms"].get<double>() * 1e6;
  const double counted =
      result["gflops"].get<double>() * result["step_ms"]["p50"].get<double>() * 1e6 / 3;
  EXPECT_NEAR(flops, counted, 1e-3 * counted);
}

TEST(BenchProfile, InferenceTableAndShapes) {
  const Outcome plain = run_program("tessera", bench({"--profile"}));
  ASSERT_EQ(plain.code, 0) << plain.err;
  for (const char* part : {"ms/step", "GFLOP/s", "conv2d  forward", "outside of kernels"})
    EXPECT_NE(plain.out.find(part), std::string::npos) << plain.out;
  const Outcome shapes = run_program("tessera", bench({"--profile", "--by-shape", "--json"}));
  ASSERT_EQ(shapes.code, 0) << shapes.err;
  const json profile = json::parse(shapes.out)["profile"];
  expect_adds_up(profile);
  bool stem = false;
  for (const json& k : profile["kernels"])
    stem |= k["shapes"].get<std::string>().starts_with("f32[2, 32, 32, 3] f32[64, 7, 7, 3]");
  EXPECT_TRUE(stem) << profile.dump(1);
  EXPECT_EQ(json::parse(run_program("tessera", bench({"--json"})).out).count("profile"), 0u);
}

TEST(BenchProfile, UsageErrors) {
  EXPECT_EQ(run_program("tessera", bench({"--by-shape"})).code, 2);
  EXPECT_EQ(run_program("tessera", bench({"--profile", "--mode", "cold"})).code, 2);
}

TEST(BenchProfile, LongTablesAreCut) {
  const json row = {{"kernel", "k"}, {"where", ""},  {"device", "cuda:0"}, {"calls", 2.0},
                    {"ms", 1.0},     {"share", 0.1}, {"gflops", nullptr},  {"gbps", nullptr}};
  const json profile = {
      {"steps", 4}, {"step_ms", 10.0}, {"outside_ms", 5.0}, {"kernels", {row, row, row, row, row}}};
  const std::string table = profile_table(profile, 2);
  EXPECT_NE(table.find("     3.000   30.0 %      6.0                    3 more rows\n"),
            std::string::npos)
      << table;
  EXPECT_NE(table.find("k  (cuda:0)\n"), std::string::npos) << table;
}

class ProfileFileTest : public ::testing::Test {
 protected:
  void SetUp() override { setenv("TESSERA_PROFILE", path_.c_str(), 1); }
  void TearDown() override {
    unsetenv("TESSERA_PROFILE");
    fs::remove(path_);
  }
  json trace() const {
    const std::vector<uint8_t> text = io::read_file(path_);
    return json::parse(text.begin(), text.end());
  }

  const fs::path path_ = fs::temp_directory_path() / cat("tessera_trace_", ::getpid(), ".json");
};

// Nanoseconds of a time in microseconds.
int64_t ns(const json& value) { return std::llround(value.get<double>() * 1e3); }

// Each event of a thread lies within an earlier one or after it.
void expect_nested(const json& events) {
  std::map<int, std::vector<std::pair<int64_t, int64_t>>> threads;
  for (const json& e : events) {
    ASSERT_EQ(e["ph"], "X");
    threads[e["tid"]].emplace_back(ns(e["ts"]), -ns(e["ts"]) - ns(e["dur"]));
  }
  for (auto& [thread, spans] : threads) {
    std::sort(spans.begin(), spans.end());  // of those that begin together, the longest first
    std::vector<int64_t> open;
    for (const auto& [start, minus_end] : spans) {
      while (!open.empty() && open.back() <= start) open.pop_back();
      EXPECT_TRUE(open.empty() || -minus_end <= open.back());
      open.push_back(-minus_end);
    }
  }
}

TEST_F(ProfileFileTest, HasEveryCall) {
  const Outcome run = run_program("tessera", bench({"--mode", "train", "--profile", "--json"}));
  ASSERT_EQ(run.code, 0) << run.err;
  const json result = json::parse(run.out);  // both profiles at once
  expect_adds_up(result["profile"]);
  EXPECT_NE(run.err.find("conv2d_weight_grad  backward/conv2d"), std::string::npos) << run.err;
  const json whole = trace(), &events = whole["traceEvents"];
  expect_nested(events);
  EXPECT_EQ(whole["otherData"]["dropped_events"], 0);
  std::map<std::string, int> kernels, spans;
  for (const json& e : events) ++(e["cat"] == "kernel" ? kernels : spans)[e["name"]];
  const int steps = result["steps"].get<int>() + 3;  // with those before the timing
  EXPECT_EQ(kernels["conv2d_input_grad"], 19 * steps);
  EXPECT_EQ(spans["backward"], steps);
  EXPECT_EQ(spans["conv2d"], 20 * steps);
  for (const json& e : events) {
    if (e["name"] != "conv2d_input_grad") continue;
    EXPECT_EQ(e["args"]["in"], "backward/conv2d");
    EXPECT_EQ(e["args"]["shapes"].size(), 3u);
    EXPECT_GT(e["args"]["bytes"].get<int64_t>(), 0);
    EXPECT_GT(e["args"]["flops"].get<int64_t>(), 0);
  }
}

// Whether the process has a handler for the signal.
bool handles(pid_t pid, int number) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string word; status >> word;)
    if (word == "SigCgt:" && status >> word)
      return std::stoull(word, nullptr, 16) >> (number - 1) & 1;
  return false;
}

TEST_F(ProfileFileTest, IsWrittenWhenASignalEndsTheProgram) {
  for (const int number : {SIGINT, SIGTERM}) {
    fs::remove(path_);
    int waited = 0;
    const Outcome run =
        run_program("tessera", {"bench", "--model", "resnet18", "--size", "32", "--seconds", "100"},
                    {.meanwhile = [&](pid_t pid) {
                      if ((waited > 0 || handles(pid, number)) && ++waited == 300)
                        kill(pid, number);
                    }});
    EXPECT_EQ(run.signal, number) << run.err;
    const json events = trace()["traceEvents"];
    EXPECT_GT(events.size(), 0u);
    expect_nested(events);
  }
}

TEST_F(ProfileFileTest, IsWrittenWhenTheProgramFails) {
  EXPECT_EQ(run_program("tessera", {"bench", "--model", "no_such_network"}).code, 1);
  EXPECT_EQ(trace()["traceEvents"].size(), 0u);
}

TEST_F(ProfileFileTest, MustBeWritable) {
  setenv("TESSERA_PROFILE", "/no/such/folder/trace.json", 1);
  const Outcome run = run_program("tessera", {"models"});
  EXPECT_EQ(run.code, 1);
  EXPECT_EQ(run.out, "");
  ASSERT_EQ(run.errors().size(), 1u) << run.err;
  EXPECT_NE(run.errors()[0].find("TESSERA_PROFILE: /no/such/folder"), std::string::npos);
}

}  // namespace
}  // namespace tessera::apps

#include "apps/common/cli.h"

#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "tests/apps/program.h"

namespace tessera::apps {
namespace {

using testing::Outcome;
using testing::run_program;
using Args = std::vector<std::string>;

struct Sample {
  CLI::App app{"sample"};
  int warm_epoch = 0, batch = 0, batchsize = 0;
  bool erasing = false, eval = false, ran = false;
  std::string failure, size = "4x2";

  Sample() {
    CLI::App* go = app.add_subcommand("go", "Go");
    app.require_subcommand(1);
    go->add_option("--warm-epoch", warm_epoch, "Warm");
    go->add_option("--batch,--batchsize", batch, "Batch")->check(CLI::Range(1, 9));
    go->add_flag("--erasing", erasing, "Erase");
    go->add_flag("--eval", eval, "Evaluate");
    go->add_option("--size", size, "Size");
    go->callback([this] {
      ran = true;
      parse_size(size, "--size");
      if (!failure.empty()) throw IoError(failure);
    });
  }
};

TEST(Cli, CompletesUniquePrefixes) {
  const Sample s;
  const auto complete = [&](Args args) { return complete_options(s.app, std::move(args)); };
  EXPECT_EQ(complete({"go", "--warm", "3"}), (Args{"go", "--warm-epoch", "3"}));
  EXPECT_EQ(complete({"go", "--warm_epoch=3"}), (Args{"go", "--warm-epoch=3"}));
  EXPECT_EQ(complete({"go", "--w=3"}), (Args{"go", "--warm-epoch=3"}));
  EXPECT_EQ(complete({"go", "--batch", "3"}), (Args{"go", "--batch", "3"}));  // exact wins
  EXPECT_EQ(complete({"go", "--batchs", "3"}), (Args{"go", "--batchsize", "3"}));
  EXPECT_EQ(complete({"go", "--other", "-3"}), (Args{"go", "--other", "-3"}));
  EXPECT_EQ(complete({"go", "--", "--warm"}), (Args{"go", "--", "--warm"}));
  EXPECT_EQ(complete({"--warm"}), (Args{"--warm"}));  // not an option before the command
  EXPECT_THROW(complete({"go", "--e"}), UsageError);
  EXPECT_THROW(complete({"go", "--b"}), UsageError);
}

int run(Sample& s, Args args) {
  ::testing::internal::CaptureStderr();
  const int code = run_cli(s.app, std::move(args));
  const std::string err = ::testing::internal::GetCapturedStderr();
  // One line for an error, none otherwise.
  EXPECT_EQ(std::count(err.begin(), err.end(), '\n'), code == kOk ? 0 : 1) << err;
  return code;
}

TEST(Cli, ExitCodes) {
  Sample good;
  EXPECT_EQ(run(good, {"go", "--batchs", "3"}), kOk);
  EXPECT_TRUE(good.ran);
  EXPECT_EQ(good.batch, 3);
  Sample twice;
  EXPECT_EQ(run(twice, {"go", "--batch", "3", "--size", "3x3", "--batchs", "5"}), kOk);
  EXPECT_EQ(twice.batch, 5);  // the last one
  for (const Args& args :
       {Args{}, Args{"gone"}, Args{"go", "--nothing"}, Args{"go", "--batch"},
        Args{"go", "--batch", "x"}, Args{"go", "--batch", "10"}, Args{"go", "--e"},
        Args{"go", "extra"}, Args{"go", "--size", "3x"}, Args{"go", "--size", "0x3"}}) {
    Sample s;
    EXPECT_EQ(run(s, args), kUsage);
  }
  Sample failing;
  failing.failure = "file: the first line\nand\nmore";
  EXPECT_EQ(run(failing, {"go"}), kFailed);
}

TEST(Cli, OneLine) {
  EXPECT_EQ(one_line("a"), "a");
  EXPECT_EQ(one_line(""), "");
  EXPECT_EQ(one_line("does not fit:\nmissing a\nmissing b\n"),
            "does not fit: missing a; missing b");
  EXPECT_EQ(one_line("1\n2\n3\n4\n5"), "1; 2; 3; 4; 5");
  EXPECT_EQ(one_line("1\n2\n3\n4\n5\n6"), "1; 2; 3; 4; and 2 more");
}

TEST(Cli, ParseSize) {
  EXPECT_EQ(parse_size("256x128", "--size"), (std::pair<int64_t, int64_t>{256, 128}));
  EXPECT_EQ(parse_size("64", "--size"), (std::pair<int64_t, int64_t>{64, 64}));
  for (const char* text : {"", "x", "3x", "x3", "0", "-1x3", "3x3x3", "1e3", "17000", "3 x3", "a"})
    EXPECT_THROW(parse_size(text, "--size"), UsageError) << text;
}

TEST(Cli, NumberChecks) {
  const auto good = [](const CLI::Validator& check, const std::string& text) {
    return check(text).empty();
  };
  for (const char* text : {"0", "0.05", "1e3", "5e-4"})
    EXPECT_TRUE(good(non_negative(), text)) << text;
  for (const char* text : {"-1", "nan", "inf", "", "x", "1x", "1e999"})
    EXPECT_FALSE(good(non_negative(), text)) << text;
  EXPECT_TRUE(good(share(), "0") && good(share(), "1") && good(share(), "0.5"));
  for (const char* text : {"-0.1", "1.5", "nan", "", "half"})
    EXPECT_FALSE(good(share(), text)) << text;
  EXPECT_TRUE(good(seed(), "0") && good(seed(), "18446744073709551615"));
  for (const char* text : {"-1", "18446744073709551616", "1.5", ""})
    EXPECT_FALSE(good(seed(), text)) << text;
  EXPECT_EQ(share()(std::string("nan")), "must be a number from 0 to 1, got 'nan'");
}

struct Line {
  std::string program;
  Args args;
};

TEST(Programs, HelpOfEveryCommand) {
  const std::pair<Line, const char*> lines[] = {
      {{"tessera", {"--help"}}, "reid"},
      {{"tessera", {"reid", "--help"}}, "rank"},
      {{"tessera", {"reid", "train", "--help"}}, "--warm-epoch"},
      {{"tessera", {"reid", "test", "--help"}}, "--weights"},
      {{"tessera", {"reid", "rank", "--help"}}, "--index"},
      {{"tessera", {"reid", "demo", "--help"}}, "--out"},
      {{"tessera", {"bench", "--help"}}, "--mode"},
      {{"tessera", {"models", "--help"}}, "--json"},
      {{"tessera", {"reid", "train", "-h"}}, "--resume"},
      {{"train_reid", {"--help"}}, "train"},
      {{"train_reid", {"train", "--help"}}, "--erasing-p"},
      {{"train_reid", {"rank", "--help"}}, "--index"},
  };
  for (const auto& [line, part] : lines) {
    const Outcome run = run_program(line.program, line.args);
    EXPECT_EQ(run.code, 0) << line.program << " " << line.args.back();
    EXPECT_NE(run.out.find(part), std::string::npos) << run.out;
    EXPECT_EQ(run.err, "");
  }
  EXPECT_EQ(run_program("tessera", {"--version"}).code, 0);
  EXPECT_NE(run_program("train_reid", {"--version"}).out.find('.'), std::string::npos);
}

TEST(Programs, WrongArgumentsExitWithTwoAndOneLine) {
  const Line lines[] = {
      {"tessera", {}},
      {"tessera", {"reid"}},
      {"tessera", {"rided"}},
      {"tessera", {"reid", "train"}},  // --data is missing
      {"tessera", {"reid", "train", "--data"}},
      {"tessera", {"reid", "train", "--data", "x", "--nothing"}},
      {"tessera", {"reid", "train", "--data", "x", "surplus"}},
      {"tessera", {"reid", "train", "--data", "x", "--stride", "3"}},
      {"tessera", {"reid", "train", "--data", "x", "--size", "0x5"}},
      {"tessera", {"reid", "train", "--data", "x", "--size", "big"}},
      {"tessera", {"reid", "train", "--data", "x", "--model", "vgg16"}},
      {"tessera", {"reid", "train", "--data", "x", "--epochs", "0"}},
      {"tessera", {"reid", "train", "--data", "x", "--batch", "1"}},
      {"tessera", {"reid", "train", "--data", "x", "--batch", "eight"}},
      {"tessera", {"reid", "train", "--data", "x", "--lr", "-0.1"}},
      {"tessera", {"reid", "train", "--data", "x", "--erasing-p", "1.5"}},
      {"tessera", {"reid", "train", "--data", "x", "--droprate", "-1"}},
      {"tessera", {"reid", "train", "--data", "x", "--pad", "-1"}},
      {"tessera", {"reid", "train", "--data", "x", "--seed", "-1"}},
      {"tessera", {"reid", "train", "--data", "x", "--seed", "18446744073709551616"}},
      {"tessera", {"reid", "train", "--data", "x", "--lr", "nan"}},
      {"tessera", {"reid", "train", "--data", "x", "--weight-decay", "nan"}},
      {"tessera", {"reid", "train", "--data", "x", "--droprate", "nan"}},
      {"tessera", {"reid", "train", "--data", "x", "--threads", "0"}},
      {"tessera", {"reid", "train", "--data", "x", "--e", "3"}},  // epochs, erasing-p, eval-every
      {"tessera", {"reid", "test", "--data", "x"}},
      {"tessera", {"reid", "rank"}},
      {"tessera", {"reid", "rank", "--index", "x"}},
      {"tessera", {"reid", "rank", "--index", "0", "--top", "0"}},
      {"tessera", {"bench", "--mode", "sleep"}},
      {"tessera", {"bench", "--size", "0"}},
      {"tessera", {"bench", "--seconds", "nan"}},
      {"train_reid", {}},
      {"train_reid", {"--batch", "4"}},
      {"train_reid", {"--w", "4"}},  // weight-decay, warm-epoch, weights, workers
  };
  for (const Line& line : lines) {
    const Outcome run = run_program(line.program, line.args);
    std::string text = line.program;
    for (const std::string& a : line.args) text += " " + a;
    EXPECT_EQ(run.code, 2) << text << "\n" << run.err;
    EXPECT_EQ(run.out, "") << text;
    EXPECT_EQ(run.errors().size(), 1u) << text << "\n" << run.err;
    EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << text << "\n" << run.err;
  }
}

TEST(Programs, AWrongCommandIsNamedWithThoseThereAre) {
  const Outcome top = run_program("tessera", {"rank"});
  EXPECT_EQ(top.code, 2);
  EXPECT_NE(top.err.find("'rank' is not a command of tessera: reid, bench, models"),
            std::string::npos)
      << top.err;
  const Outcome below = run_program("train_reid", {"predict"});
  EXPECT_EQ(below.code, 2);
  EXPECT_NE(below.err.find("'predict' is not a command of train_reid: train"), std::string::npos)
      << below.err;
}

TEST(Programs, ResultsThatCannotBeWrittenAreAnError) {
  for (const Args& args : {Args{"--help"}, Args{"--version"}, Args{"reid", "rank", "--help"}}) {
    const Outcome run = run_program("tessera", args, {.stdout_to = "/dev/full"});
    EXPECT_EQ(run.code, 1) << args.back();
    ASSERT_EQ(run.errors().size(), 1u) << run.err;
    EXPECT_NE(run.err.find("stdout"), std::string::npos) << run.err;
  }
}

TEST(Programs, BenchPrintsOneJsonObject) {
  for (const char* mode : {"infer", "train"}) {
    const Outcome run =
        run_program("tessera", {"bench", "--model", "resnet18", "--batch", "2", "--size", "32",
                                "--mode", mode, "--seconds", "0", "--threads", "1", "--json"});
    ASSERT_EQ(run.code, 0) << run.err;
    const nlohmann::json result = nlohmann::json::parse(run.out);
    EXPECT_EQ(result.at("mode"), mode);
    EXPECT_EQ(result.at("batch"), 2);
    EXPECT_EQ(result.at("threads"), 1);
    for (const char* key :
         {"images_per_second", "gflops", "peak_rss_mb", "tensors_peak_mb", "allocator_held_mb"})
      EXPECT_GT(result.at(key).get<double>(), 0) << key;
    for (const char* key : {"p10", "p50", "p90"})
      EXPECT_GT(result.at("step_ms").at(key).get<double>(), 0) << key;
  }
  const Outcome unknown = run_program("tessera", {"bench", "--model", "resnet19"});
  EXPECT_EQ(unknown.code, 1);
  ASSERT_EQ(unknown.errors().size(), 1u);
  EXPECT_NE(unknown.errors()[0].find("resnet18"), std::string::npos);
}

TEST(Programs, ColdBenchTimesOnePrediction) {
  const Args args{"bench", "--model", "resnet18", "--batch", "1",         "--size",
                  "32",    "--mode",  "cold",     "--json",  "--threads", "1"};
  const auto now = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  };
  const double start = now();
  const Outcome run = run_program("tessera", args);
  const double end = now();
  ASSERT_EQ(run.code, 0) << run.err;
  const nlohmann::json result = nlohmann::json::parse(run.out);
  EXPECT_EQ(result.at("weights"), "random");
  EXPECT_TRUE(result.at("program").get<std::string>().starts_with("Tessera ")) << result;
  const double finished = result.at("finished_at").get<double>();
  const double inside_ms =
      result.at("create_ms").get<double>() + result.at("predict_ms").get<double>();
  EXPECT_GT(inside_ms, 0);
  EXPECT_GE(finished, start + 1e-3 * inside_ms);  // one clock for both processes
  EXPECT_LE(finished, end);

  Args with_file = args;
  with_file.insert(with_file.end(), {"--weights", "/nowhere/w.safetensors"});
  const Outcome missing = run_program("tessera", with_file);
  EXPECT_EQ(missing.code, 1);
  EXPECT_NE(missing.err.find("/nowhere/w.safetensors"), std::string::npos) << missing.err;
  const Outcome wrong_mode = run_program("tessera", {"bench", "--weights", "w.safetensors"});
  EXPECT_EQ(wrong_mode.code, 2) << wrong_mode.err;
}

TEST(ProgramsSlow, ModelsListsTheRegistry) {
  const Outcome run = run_program("tessera", {"models", "--json"});
  ASSERT_EQ(run.code, 0) << run.err;
  const nlohmann::json list = nlohmann::json::parse(run.out);
  bool found = false;
  for (const nlohmann::json& m : list) {
    if (m.at("name") != "resnet50") continue;
    found = true;
    EXPECT_EQ(m.at("parameters"), 25557032);
    EXPECT_NEAR(m.at("macs").get<double>(), 4.09e9, 0.01e9);
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace tessera::apps

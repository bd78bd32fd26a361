// The re-identification programs end to end on a small set of drawn pedestrians.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "apps/reid/trainer.h"
#include "data/codec.h"
#include "data/pedestrians.h"
#include "io/read_file.h"
#include "io/safetensors.h"
#include "nn/io/checkpoint.h"
#include "tests/apps/program.h"

namespace tessera::apps {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::Outcome;
using testing::run_program;
using testing::RunOptions;
using Args = std::vector<std::string>;

void write_text(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

json read_json(const fs::path& path) {
  const std::vector<uint8_t> text = io::read_file(path);
  return json::parse(text.begin(), text.end());
}

Args operator+(Args a, const Args& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// A set of 4 + 4 identities, and a network trained on it for two epochs with shortened options.
struct Shared {
  fs::path root, data, trained;
  Outcome training;

  Shared() {
    root = fs::temp_directory_path() / cat("tessera_reid_", ::getpid());
    fs::remove_all(root);
    data = root / "data";
    trained = root / "trained";
    data::write_market1501(data,
                           {.train_identities = 4,
                            .test_identities = 4,
                            .cameras = 2,
                            .views = 4,
                            .height = 32,
                            .width = 16},
                           [](const fs::path& path, const data::Image& image) {
                             const std::vector<uint8_t> bytes = data::encode_jpeg(image);
                             write_text(path, std::string(bytes.begin(), bytes.end()));
                           });
    training = run_program("train_reid", {"--data", data.string(), "--out", trained.string(),
                                          "--total", "2", "--batchs", "16", "--warm", "1", "--mod",
                                          "resnet18", "--siz=32x16", "--js", "--q"});
  }
  ~Shared() { fs::remove_all(root); }
};

class ReidProgram : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { shared_ = new Shared; }
  static void TearDownTestSuite() {
    delete shared_;
    shared_ = nullptr;
  }
  void SetUp() override {
    work_ = shared_->root / ::testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::create_directories(work_);
    set_ = work_ / "set";
    out_ = work_ / "out";
  }
  void TearDown() override { fs::remove_all(work_); }

  // A copy of the set that a test may spoil.
  void copy_set() const { fs::copy(shared_->data, set_, fs::copy_options::recursive); }
  static std::vector<fs::path> files(const fs::path& folder) {
    std::vector<fs::path> list;
    for (const auto& e : fs::directory_iterator(folder)) list.push_back(e.path());
    std::sort(list.begin(), list.end());
    return list;
  }
  Args train(const fs::path& data, const Args& more = {}) const {
    return Args{"reid",     "train",  "--data", data.string(), "--out", out_.string(), "--model",
                "resnet18", "--size", "32x16",  "--batch",     "16",    "--epochs",    "2"} +
           more;
  }
  Args test(const fs::path& data, const fs::path& weights, const Args& more = {}) const {
    return Args{"reid",      "test",           "--data", data.string(),
                "--weights", weights.string(), "--out",  out_.string()} +
           more;
  }
  // Exit code 1 and one error line that holds every part.
  static void expect_error(const Outcome& run, const Args& parts) {
    EXPECT_EQ(run.code, 1) << run.err;
    EXPECT_EQ(run.out, "");
    ASSERT_EQ(run.errors().size(), 1u) << run.err;
    EXPECT_TRUE(run.err.ends_with(run.errors()[0] + "\n")) << run.err;
    for (const std::string& part : parts)
      EXPECT_NE(run.errors()[0].find(part), std::string::npos) << part << " is not in " << run.err;
  }
  // What train() says, for a run in this process.
  ReidTrainOptions options() const {
    ReidTrainOptions o;
    o.data = shared_->data;
    o.out = out_;
    o.model.net.backbone = "resnet18";
    o.model.height = 32;
    o.model.width = 16;
    o.batch = 16;
    o.epochs = 2;
    o.output.quiet = true;
    return o;
  }
  static fs::path checkpoint() { return shared_->trained / "checkpoint.safetensors"; }
  static fs::path weights() { return shared_->trained / "net_last.safetensors"; }

  static inline Shared* shared_ = nullptr;
  fs::path work_, set_, out_;
};

// The suite of those that train again.
class ReidProgramSlow : public ReidProgram {};

TEST_F(ReidProgram, TrainWritesItsFiles) {
  const Outcome& run = shared_->training;
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.err, "");
  const json result = json::parse(run.out);
  EXPECT_EQ(result.at("epochs"), 2);
  EXPECT_EQ(result.at("interrupted"), false);
  EXPECT_EQ(result.at("queries"), 8);
  EXPECT_EQ(result.at("queries_without_match"), 0);
  // Two epochs of two steps from the initial loss, ln 4.
  EXPECT_GT(result.at("loss").get<double>(), 0);
  EXPECT_LT(result.at("loss").get<double>(), 2 * std::log(4.0));
  for (const char* key : {"rank1", "rank5", "rank10", "mAP", "mINP", "accuracy"}) {
    EXPECT_GE(result.at(key).get<double>(), 0) << key;
    EXPECT_LE(result.at(key).get<double>(), 1) << key;
  }
  EXPECT_EQ(read_json(shared_->trained / "result.json"), result);
  EXPECT_GT(data::read_image(shared_->trained / "curves.png").width, 100);
  std::ifstream lines(shared_->trained / "train.jsonl");
  int64_t epoch = 0;
  for (std::string line; std::getline(lines, line);)
    EXPECT_EQ(json::parse(line).at("epoch"), ++epoch);
  EXPECT_EQ(epoch, 2);
}

TEST_F(ReidProgram, ShortenedOptionsReachTheRun) {
  const json options = nn::io::read_checkpoint_progress(checkpoint()).at("options");
  EXPECT_EQ(options.at("/epochs"), 2);
  EXPECT_EQ(options.at("/batch"), 16);
  EXPECT_EQ(options.at("/warm_epochs"), 1);
  EXPECT_EQ(options.at("/model/backbone"), "resnet18");
  EXPECT_EQ(options.at("/model/height"), 32);
  EXPECT_EQ(options.at("/model/num_classes"), 4);
}

TEST_F(ReidProgram, TestAndRankReproduceTheTraining) {
  const json trained = json::parse(shared_->training.out);
  const Outcome tested =
      run_program("tessera", test(shared_->data, weights(), {"--json", "--quiet"}));
  ASSERT_EQ(tested.code, 0) << tested.err;
  EXPECT_EQ(tested.err, "");
  const json result = json::parse(tested.out);
  for (const char* key : {"rank1", "rank5", "rank10", "mAP", "mAP_rectangular", "mINP", "queries"})
    EXPECT_EQ(result.at(key), trained.at(key)) << key;
  EXPECT_EQ(read_json(out_ / "result.json"), result);

  const Outcome ranked = run_program(
      "tessera", {"reid", "rank", "--index", "3", "--top", "5", "--out", out_.string(), "--json"});
  ASSERT_EQ(ranked.code, 0) << ranked.err;
  const json list = json::parse(ranked.out);
  EXPECT_EQ(list.at("ranked").size(), 5u);
  EXPECT_TRUE(fs::exists(list.at("query").get<std::string>()));
  EXPECT_GT(data::read_image(list.at("picture").get<std::string>()).width, 5 * 16);

  const Outcome plain =
      run_program("train_reid", {"rank", "--ind", "0", "--out", shared_->trained.string(),
                                 "--picture", (work_ / "r.png").string()});
  EXPECT_EQ(plain.code, 0) << plain.err;
  EXPECT_TRUE(fs::exists(work_ / "r.png"));
}

TEST_F(ReidProgram, TextOutputAndReRanking) {
  const Outcome run =
      run_program("train_reid", {"test", "--data", shared_->data.string(), "--weights",
                                 weights().string(), "--out", out_.string(), "--rerank"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_NE(run.out.find("\nre-ranked Rank@1:"), std::string::npos) << run.out;
  EXPECT_TRUE(run.out.starts_with("Rank@1:")) << run.out;
}

TEST_F(ReidProgram, MissingAndEmptyFolders) {
  expect_error(run_program("tessera", train(work_ / "none")), {(work_ / "none").string()});
  fs::create_directories(set_);
  expect_error(run_program("tessera", train(set_)), {"bounding_box_train"});
  for (const char* part : {"bounding_box_train", "query", "bounding_box_test"})
    fs::create_directories(set_ / part);
  expect_error(run_program("tessera", train(set_)), {"bounding_box_train"});
  expect_error(run_program("tessera", test(work_ / "none", weights())), {"none"});
  EXPECT_FALSE(fs::exists(out_));
}

TEST_F(ReidProgram, WrongNamePattern) {
  copy_set();
  const fs::path bad = set_ / "query" / "person.jpg";
  fs::copy(files(set_ / "query")[0], bad);
  expect_error(run_program("tessera", train(set_)), {bad.string()});
  expect_error(run_program("tessera", test(set_, weights())), {bad.string()});
}

TEST_F(ReidProgram, OneIdentityOnly) {
  copy_set();
  for (const fs::path& file : files(set_ / "bounding_box_train"))
    if (!file.filename().string().starts_with("0001_")) fs::remove(file);
  expect_error(run_program("tessera", train(set_, {"--batch", "4"})), {"two identities"});
}

TEST_F(ReidProgram, BatchLargerThanTheSet) {
  expect_error(run_program("tessera", train(shared_->data, {"--batch", "33"})),
               {"--batch 33", "32"});
}

TEST_F(ReidProgram, UnreadableImage) {
  copy_set();
  const fs::path bad = files(set_ / "bounding_box_train")[5], query = files(set_ / "query")[1];
  write_text(bad, "no image");
  expect_error(run_program("tessera", train(set_)), {bad.string()});
  write_text(query, std::string("\xff\xd8\xff\xe0", 4));
  expect_error(run_program("tessera", test(set_, weights())), {query.string()});
}

TEST_F(ReidProgram, QueryWithoutMatchIsCountedAndSaid) {
  copy_set();
  const std::string identity = files(set_ / "query")[0].filename().string().substr(0, 5);
  for (const fs::path& file : files(set_ / "bounding_box_test"))
    if (file.filename().string().starts_with(identity)) fs::remove(file);
  const Outcome run = run_program("tessera", test(set_, weights(), {"--json", "--quiet"}));
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(json::parse(run.out).at("queries_without_match"), 2);
  EXPECT_NE(run.err.find("warning: 2 of 8 queries have no match"), std::string::npos) << run.err;
}

TEST_F(ReidProgram, WeightsOfAnotherNetwork) {
  const fs::path file = work_ / "other.safetensors";
  io::write_safetensors(file, {{"conv1.weight", zeros({2, 2})}});
  expect_error(run_program("tessera", test(shared_->data, file, {"--model", "resnet18"})),
               {file.string(), "do not fit", "more"});
  io::write_safetensors(file, {{"a", zeros({1})}}, {{"tessera.reid", "{\"backbone\":5}"}});
  expect_error(run_program("tessera", test(shared_->data, file)), {file.string(), "description"});
  expect_error(run_program("tessera", test(shared_->data, checkpoint(), {"--model", "resnet18"})),
               {checkpoint().string()});
  expect_error(run_program("tessera", test(shared_->data, work_ / "none")), {"none"});
  // Numbers that nothing could be built from, and numbers that the weights belie.
  json model{{"backbone", "resnet18"}, {"num_classes", 3}, {"bottleneck", 512}, {"dropout", 0.5},
             {"last_stride", 2},       {"height", 32},     {"width", 16}};
  const auto expect_refused = [&](const char* key, const json& value, const char* part) {
    json wrong = model;
    wrong[key] = value;
    io::write_safetensors(file, {{"classifier.classifier.0.weight", zeros({3, 2})}},
                          {{"tessera.reid", wrong.dump()}});
    expect_error(run_program("tessera", test(shared_->data, file)), {file.string(), part});
  };
  expect_refused("num_classes", 1000000, "num_classes 1000000");
  expect_refused("num_classes", -1, "num_classes -1");
  expect_refused("bottleneck", int64_t{1} << 60, "bottleneck");
  expect_refused("height", int64_t{3037000500}, "height");
  expect_refused("width", 0, "width 0");
  expect_refused("dropout", 5, "dropout 5");
  expect_refused("last_stride", 7, "last_stride 7");
  const std::vector<uint8_t> bytes = io::read_file(weights());
  for (size_t n : {size_t{0}, size_t{5}, size_t{300}, bytes.size() / 2, bytes.size() - 1}) {
    write_text(file, std::string(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n)));
    expect_error(run_program("tessera", test(shared_->data, file)), {file.string()});
  }
}

TEST_F(ReidProgram, CheckpointOfAnotherRunOrDamaged) {
  const std::vector<uint8_t> before = io::read_file(checkpoint());
  const Args resume{"--resume", checkpoint().string(), "--warm", "1"};
  expect_error(run_program("tessera", train(shared_->data, resume + Args{"--linear-num", "16"})),
               {checkpoint().string(), "bottleneck was 512 and is now 16"});
  expect_error(run_program("tessera", train(shared_->data, resume + Args{"--model", "resnet34"})),
               {"backbone was \"resnet18\" and is now \"resnet34\""});
  expect_error(run_program("tessera", train(shared_->data, {"--resume", weights().string()})),
               {weights().string(), "not a training checkpoint"});
  expect_error(run_program("tessera", train(shared_->data, {"--resume", "none.safetensors"})),
               {"none.safetensors"});
  copy_set();
  fs::remove(files(set_ / "bounding_box_train")[0]);
  expect_error(run_program("tessera", train(set_, resume)), {"train_images was 32 and is now 31"});
  const fs::path cut = work_ / "cut.safetensors";
  for (size_t n : {size_t{0}, size_t{7}, size_t{1000}, before.size() / 2, before.size() - 1}) {
    write_text(cut, std::string(before.begin(), before.begin() + static_cast<std::ptrdiff_t>(n)));
    expect_error(
        run_program("tessera", train(shared_->data, {"--resume", cut.string(), "--warm", "1"})),
        {cut.string()});
  }
  // Progress that cannot be: batch 9 of an epoch of two.
  std::string damaged(before.begin(), before.end());
  const std::string batch = R"(\"batch\":0)";
  ASSERT_NE(damaged.find(batch), std::string::npos);
  damaged[damaged.find(batch) + batch.size() - 1] = '9';
  write_text(cut, damaged);
  expect_error(
      run_program("tessera", train(shared_->data, {"--resume", cut.string(), "--warm", "1"})),
      {cut.string(), "damaged", "batch 9 of 2"});
  EXPECT_TRUE(io::read_file(checkpoint()) == before);
}

TEST_F(ReidProgram, RankNeedsFeaturesAndAnIndexInRange) {
  const auto rank = [&](const std::string& index, const fs::path& folder) {
    return run_program("tessera", {"reid", "rank", "--index", index, "--out", folder.string()});
  };
  expect_error(rank("8", shared_->trained), {"[0, 8)", "8"});
  expect_error(rank("-1", shared_->trained), {"-1"});
  expect_error(rank("0", work_), {"features.npz"});
  fs::copy(shared_->trained / "features.npz", work_ / "features.npz");
  expect_error(rank("0", work_), {"images.json"});
  for (const char* text : {"", "[]", "{\"query\":[]}", "{\"query\":[1],\"gallery\":[]}"}) {
    write_text(work_ / "images.json", text);
    expect_error(rank("0", work_), {work_.string()});
  }
  fs::copy(shared_->trained / "images.json", work_ / "images.json",
           fs::copy_options::overwrite_existing);
  write_text(work_ / "features.npz", "damaged");
  expect_error(rank("0", work_), {"features.npz"});
}

TEST_F(ReidProgram, ImagesAreFoundFromAnyFolder) {
  const Outcome run =
      run_program("tessera", test(fs::relative(shared_->data), weights(), {"--quiet"}));
  ASSERT_EQ(run.code, 0) << run.err;
  const json images = read_json(out_ / "images.json");
  EXPECT_EQ(images.size(), 2u);
  for (const auto& [part, paths] : images.items()) {
    EXPECT_FALSE(paths.empty()) << part;
    for (const fs::path path : paths) EXPECT_TRUE(path.is_absolute() && fs::exists(path)) << path;
  }
}

TEST_F(ReidProgram, OutputFolderThatIsAFile) {
  write_text(out_, "a file");
  expect_error(run_program("tessera", train(shared_->data)), {out_.string()});
  expect_error(run_program("tessera", test(shared_->data, weights())), {out_.string()});
}

TEST_F(ReidProgram, OutputFolderThatCannotBeWrittenIsFoundBeforeTheWork) {
  out_ = "/proc";  // exists, and takes no file of anybody
  for (const Args& args : {train(shared_->data), test(shared_->data, weights())}) {
    const Outcome run = run_program("tessera", args);
    expect_error(run, {"/proc"});
    EXPECT_EQ(run.err.find("images"), std::string::npos) << run.err;  // no progress before it
  }
}

TEST_F(ReidProgram, PathsNeedNotBeUtf8) {
  const fs::path odd = work_ / "w\xff \xc3\xa4.safetensors";
  fs::copy(weights(), odd);
  const Outcome run = run_program("tessera", test(shared_->data, odd, {"--json", "--quiet"}));
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_TRUE(json::parse(run.out).at("weights").get<std::string>().ends_with(
      "w\xef\xbf\xbd \xc3\xa4.safetensors"))
      << run.out;
}

TEST_F(ReidProgram, SignalsEndATestWithOneLine) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    fs::remove_all(out_);
    bool sent = false;
    const Outcome run =
        run_program("tessera", test(shared_->data, weights(), {"--batch", "1", "--json"}),
                    {.meanwhile = [&](pid_t pid) {
                      // The folder is made before the first image.
                      if (!sent && fs::exists(out_)) sent = ::kill(pid, number) == 0;
                    }});
    EXPECT_EQ(run.code, 128 + number) << run.err;
    EXPECT_EQ(json::parse(run.out), json({{"interrupted", true}}));
    EXPECT_NE(run.err.find("warning: interrupted"), std::string::npos) << run.err;
    EXPECT_TRUE(files(out_).empty());
  }
}

TEST_F(ReidProgram, CtrlCEndsTheDemoWithOneLine) {
  bool sent = false;
  const Outcome run = run_program("tessera", {"reid", "demo", "--out", out_.string(), "--json"},
                                  {.meanwhile = [&](pid_t pid) {
                                    if (!sent && fs::exists(out_ / "data"))
                                      sent = ::kill(pid, SIGINT) == 0;
                                  }});
  EXPECT_EQ(run.code, 130) << run.err;
  EXPECT_EQ(json::parse(run.out), json({{"interrupted", true}}));
  EXPECT_TRUE(run.err.ends_with("warning: interrupted before the report\n")) << run.err;
}

TEST_F(ReidProgram, TheDemoRefusesImagesOfAnotherSet) {
  const fs::path query = out_ / "data" / "query";
  fs::create_directories(query);
  write_text(query / "readme.txt", "not an image");
  write_text(query / "0065_c1s1_000001_00.jpg", "one of its own");
  write_text(query / "0065_c1s1_000009_00.jpg", "a foreign one");
  const Args demo{"reid", "demo", "--out", out_.string()};
  expect_error(run_program("tessera", demo), {"0065_c1s1_000009_00.jpg", "--out"});
  EXPECT_EQ(files(query).size(), 3u);
  fs::remove(query / "0065_c1s1_000009_00.jpg");
  bool sent = false;  // it begins, and is not let go on
  const auto begun = query.parent_path() / "bounding_box_train";
  EXPECT_EQ(run_program("tessera", demo,
                        {.meanwhile =
                             [&](pid_t pid) {
                               if (!sent && fs::exists(begun)) sent = ::kill(pid, SIGINT) == 0;
                             }})
                .code,
            130);
}

TEST_F(ReidProgram, StoppedBeforeTheFirstBatch) {
  ReidTrainOptions o = options();
  const auto stop = [] { return true; };
  const fs::path own = out_ / "checkpoint.safetensors", other = work_ / "other.safetensors";
  const ReidTrainResult first = train_reid(o, stop);
  EXPECT_TRUE(first.interrupted);
  EXPECT_EQ(first.checkpoint, own);
  ASSERT_TRUE(fs::exists(own));
  fs::rename(own, other);
  // The file of an earlier run is not overwritten by one in which nothing happened.
  write_text(own, "hours of work");
  EXPECT_EQ(train_reid(o, stop).checkpoint, fs::path());
  o.resume = other;
  EXPECT_EQ(train_reid(o, stop).checkpoint, other);
  EXPECT_EQ(io::read_file(own).size(), std::string("hours of work").size());
}

TEST_F(ReidProgramSlow, FullDiskKeepsTheOldCheckpoint) {
  fs::create_directories(out_);
  fs::copy(checkpoint(), out_ / "checkpoint.safetensors");
  const std::vector<uint8_t> before = io::read_file(checkpoint());
  const RunOptions full{.file_limit = before.size() / 2};
  expect_error(run_program("tessera", train(shared_->data), full),
               {(out_ / "checkpoint.safetensors").string()});
  EXPECT_TRUE(io::read_file(out_ / "checkpoint.safetensors") == before);
  EXPECT_EQ(files(out_).size(), 1u);
}

TEST_F(ReidProgramSlow, UnreadableImagesCanBeSkippedOrLoseNoWork) {
  copy_set();
  const fs::path bad = files(set_ / "bounding_box_train")[5];
  const std::vector<uint8_t> image = io::read_file(bad);
  write_text(bad, "no image");
  Args options{"--batch", "4", "--epochs", "1"};
  const Outcome skipping =
      run_program("tessera", train(set_, options + Args{"--skip-corrupt", "--json", "--quiet"}));
  ASSERT_EQ(skipping.code, 0) << skipping.err;
  EXPECT_EQ(json::parse(skipping.out).at("skipped_images"), 1);
  // Named, and once though it is met in every epoch; a batch of one image is no failure.
  const Outcome twice =
      run_program("tessera", train(set_, {"--batch", "2", "--skip-corrupt", "--json", "--quiet"}));
  ASSERT_EQ(twice.code, 0) << twice.err;
  EXPECT_EQ(json::parse(twice.out).at("skipped_images"), 1);
  EXPECT_TRUE(twice.err.starts_with("warning: left out: " + bad.string())) << twice.err;
  EXPECT_EQ(std::count(twice.err.begin(), twice.err.end(), '\n'), 1) << twice.err;
  fs::remove_all(out_);

  // The batches before the damaged file are kept; in one order of eight there is none.
  const fs::path saved = out_ / "checkpoint.safetensors";
  for (const char* seed : {"1", "2", "3", "4"}) {
    expect_error(run_program("tessera", train(set_, options + Args{"--seed", seed})),
                 {bad.string()});
    if (!fs::exists(saved)) continue;
    options = options + Args{"--seed", seed};
    break;
  }
  ASSERT_TRUE(fs::exists(saved));
  EXPECT_GT(nn::io::read_checkpoint_progress(saved).at("batch").get<int>(), 0);
  // With the file mended the run goes on.
  write_text(bad, std::string(image.begin(), image.end()));
  const Outcome resumed =
      run_program("tessera", train(set_, options + Args{"--resume", saved.string()}));
  EXPECT_EQ(resumed.code, 0) << resumed.err;
}

// Bits of the final weights.
std::vector<uint8_t> final_weights(const fs::path& out) {
  return io::read_file(out / "net_last.safetensors");
}

TEST_F(ReidProgramSlow, CtrlCSavesAndResumingIsExact) {
  const Args options{"--epochs", "5",           "--batch", "4",         "--seed",
                     "3",        "--erasing-p", "0.5",     "--workers", "2"};
  const Outcome whole = run_program("tessera", train(shared_->data, options));
  ASSERT_EQ(whole.code, 0) << whole.err;
  const std::vector<uint8_t> expected = final_weights(out_);
  const fs::path saved = out_ / "checkpoint.safetensors";

  // After the first checkpoint; on a machine that stalled the run may be over before the signal.
  Outcome run;
  for (int attempt = 0; attempt < 3; ++attempt) {
    fs::remove_all(out_);
    bool sent = false;
    run = run_program("tessera", train(shared_->data, options), {.meanwhile = [&](pid_t pid) {
                        if (sent || !fs::exists(saved)) return;
                        sent = ::kill(pid, SIGINT) == 0;
                      }});
    if (run.code != 0) break;
  }
  ASSERT_EQ(run.code, 130) << run.err;
  EXPECT_EQ(run.out, "");
  EXPECT_TRUE(run.errors().empty()) << run.err;
  EXPECT_NE(run.err.find("interrupted; go on with --resume " + saved.string()), std::string::npos)
      << run.err;
  EXPECT_FALSE(fs::exists(out_ / "net_last.safetensors"));

  const Outcome resumed =
      run_program("tessera", train(shared_->data, options + Args{"--resume", saved.string()}));
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_TRUE(final_weights(out_) == expected);
  EXPECT_EQ(resumed.out, whole.out);
  std::ifstream lines(out_ / "train.jsonl");
  int64_t epoch = 0;
  for (std::string line; std::getline(lines, line);)
    EXPECT_EQ(json::parse(line).at("epoch"), ++epoch);
  EXPECT_EQ(epoch, 5);
}

// Whatever it is doing when it is told to stop, the resumed run is the run without a stop.
TEST_F(ReidProgramSlow, StoppedAtAnyMoment) {
  ReidTrainOptions o = options();
  o.eval_every = 1;
  const ReidTrainResult whole = train_reid(o);
  const std::vector<uint8_t> expected = final_weights(out_);
  const auto expect_whole = [&](const ReidTrainResult& run, int n) {
    EXPECT_TRUE(final_weights(out_) == expected) << n;
    EXPECT_EQ(run.metrics.ap, whole.metrics.ap) << n;
    ASSERT_EQ(run.epochs.size(), whole.epochs.size()) << n;
    for (size_t e = 0; e < run.epochs.size(); ++e) {
      EXPECT_EQ(run.epochs[e].loss, whole.epochs[e].loss) << n;
      EXPECT_EQ(run.epochs[e].accuracy, whole.epochs[e].accuracy) << n;
      EXPECT_EQ(run.epochs[e].rank1, whole.epochs[e].rank1) << n;
      EXPECT_EQ(run.epochs[e].mAP, whole.epochs[e].mAP) << n;
    }
  };
  // Question n is answered with yes: before the first epoch, after its batches, in its evaluation,
  // before the second epoch.
  for (int n = 1; n <= 8; ++n) {
    fs::remove_all(out_);
    o.resume.clear();
    int asked = 0;
    const ReidTrainResult cut = train_reid(o, [&] { return ++asked >= n; });
    ASSERT_TRUE(cut.interrupted) << n;
    o.resume = cut.checkpoint;
    expect_whole(train_reid(o), n);
  }
}

TEST_F(ReidProgramSlow, CtrlCAtOnceIsNotLost) {
  bool sent = false;
  const Outcome run = run_program("tessera", train(shared_->data, {"--epochs", "50", "--json"}),
                                  {.meanwhile = [&](pid_t pid) {
                                    // The folder is made before the first batch.
                                    if (!sent && fs::exists(out_)) sent = ::kill(pid, SIGINT) == 0;
                                  }});
  EXPECT_EQ(run.code, 130) << run.err;
  EXPECT_EQ(json::parse(run.out).at("interrupted"), true);
  EXPECT_TRUE(fs::exists(out_ / "checkpoint.safetensors"));
}

}  // namespace
}  // namespace tessera::apps

#include "nn/io/checkpoint.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "autograd/engine.h"
#include "io/atomic_file.h"
#include "io/read_file.h"
#include "io/safetensors.h"
#include "nn/io/published.h"
#include "nn/io/weights.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/dropout.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "nn/optim/schedule.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/random/random.h"
#include "ops/reduce/sum.h"
#include "tensor/view.h"

namespace tessera::nn {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class CheckpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() /
              cat("tessera_checkpoint_", ::getpid(), "_",
                  ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path file(const std::string& name) const { return folder_ / name; }
  fs::path folder_;
};

std::shared_ptr<Sequential> small_net(int64_t width = 5) {
  return std::shared_ptr<Sequential>(
      new Sequential{std::make_shared<Conv2d>(3, 4, 3, Conv2d::Options{.stride = 2, .bias = false}),
                     std::make_shared<BatchNorm>(4), std::make_shared<Flatten>(),
                     std::make_shared<Dropout>(0.4), std::make_shared<Linear>(16, width),
                     std::make_shared<DropPath>(0.3), std::make_shared<Linear>(width, 2)});
}

// Everything that a run keeps from one step to the next.
struct Job {
  explicit Job(bool adam = false, int64_t width = 5) : net(small_net(width)) {
    const Tensors p = net->parameters();
    std::vector<ParameterGroup> groups{{{p.begin(), p.begin() + 3}, 0.01},
                                       {{p.begin() + 3, p.end()}}};
    if (adam)
      optimizer = std::make_unique<Adam>(groups, Adam::Options{.lr = 0.01, .amsgrad = true});
    else
      optimizer = std::make_unique<Sgd>(
          groups, Sgd::Options{.lr = 0.1, .momentum = 0.9, .weight_decay = 1e-3, .nesterov = true});
    ema = std::make_unique<Ema>(*net, 0.9, true);
  }
  io::TrainingState state() {
    io::TrainingState s;
    s.model = net.get();
    s.optimizer = optimizer.get();
    s.ema = ema.get();
    s.generator = &default_generator();
    s.progress = {{"step", step}, {"rate", 0.1}};
    return s;
  }
  void train(int steps) {
    const SchedulePtr schedule = cosine_schedule(12);
    for (int i = 0; i < steps; ++i, ++step) {
      Generator data(100 + static_cast<uint64_t>(step));
      const Tensor x = randn({4, 6, 6, 3}, data), target = randn({4, 2}, data);
      schedule->apply(*optimizer, step);
      optimizer->zero_grad();
      const Tensor d = net->forward(x) - target;
      backward(sum(d * d));
      optimizer->step();
      ema->update();
    }
  }
  std::shared_ptr<Sequential> net;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Ema> ema;
  int64_t step = 0;
};

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(a.raw_data(), b.raw_data(), static_cast<size_t>(a.nbytes())) == 0;
}

void expect_same(const StateDict& a, const StateDict& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].name, b[i].name);
    EXPECT_TRUE(same_bits(a[i].tensor, b[i].tensor)) << a[i].name;
  }
}

StateDict copy_of(const StateDict& state) {
  StateDict out = state;
  for (StateEntry& e : out) e.tensor = view::clone(e.tensor.detach());
  return out;
}

class Resume : public CheckpointTest, public ::testing::WithParamInterface<bool> {};

TEST_P(Resume, IsExactToTheBit) {
  const bool adam = GetParam();
  manual_seed(1);
  Job whole(adam);
  whole.train(9);

  manual_seed(1);
  {
    Job first(adam);
    first.train(4);
    io::save_checkpoint(file("c"), first.state());
  }
  manual_seed(77);  // a new process knows nothing
  Job second(adam);
  second.train(2);
  io::TrainingState state = second.state();
  state.progress = json::object();
  io::load_checkpoint(file("c"), state);
  EXPECT_EQ(state.progress, (json{{"step", 4}, {"rate", 0.1}}));
  EXPECT_EQ(io::read_checkpoint_progress(file("c")), state.progress);
  second.step = state.progress["step"];
  second.train(5);

  expect_same(whole.net->state_dict(), second.net->state_dict());
  expect_same(whole.optimizer->state(), second.optimizer->state());
  expect_same(whole.ema->state(), second.ema->state());
  EXPECT_EQ(whole.ema->updates(), second.ema->updates());
}
INSTANTIATE_TEST_SUITE_P(Optimizers, Resume, ::testing::Bool(),
                         [](const auto& p) { return p.param ? "Adam" : "Sgd"; });

std::string load_error(const fs::path& path, Job& run) {
  io::TrainingState state = run.state();
  try {
    io::load_checkpoint(path, state);
  } catch (const ValueError& e) {
    return cat("ValueError ", e.what());
  } catch (const IoError& e) {
    return cat("IoError ", e.what());
  }
  return "";
}

TEST_F(CheckpointTest, OfAnotherNetworkOrOptimizerIsRefused) {
  Job run, wider(false, 7), adam(true);
  run.train(1);
  io::save_checkpoint(file("c"), run.state());
  const StateDict before = copy_of(wider.net->state_dict());
  const std::string other = load_error(file("c"), wider);
  EXPECT_TRUE(other.starts_with(cat("ValueError ", file("c").string()))) << other;
  for (const char* part : {"mismatched 4.weight: source [5, 16], module [7, 16]", "6.weight"})
    EXPECT_NE(other.find(part), std::string::npos) << other;
  expect_same(before, wider.net->state_dict());
  EXPECT_NE(load_error(file("c"), adam).find("unexpected 0.momentum"), std::string::npos);
}

// Whatever part of a checkpoint does not fit, every part of the run stays as it was.
TEST_F(CheckpointTest, ARefusedCheckpointChangesNothing) {
  Job saved(true);
  saved.train(2);
  io::save_checkpoint(file("c"), saved.state());
  const tessera::io::Safetensors good = tessera::io::read_safetensors(file("c"));

  const auto refused = [&](Job& job, const char* name) {
    job.train(1);
    default_generator().uniform();
    const StateDict net = copy_of(job.net->state_dict()),
                    optimizer = copy_of(job.optimizer->state()),
                    average = copy_of(job.ema->state());
    const int64_t updates = job.ema->updates();
    const Generator::State generator = default_generator().state();
    io::TrainingState state = job.state();
    state.progress = {{"mine", 1}};
    EXPECT_THROW(io::load_checkpoint(file(name), state), Error) << name;
    expect_same(net, job.net->state_dict());
    expect_same(optimizer, job.optimizer->state());
    expect_same(average, job.ema->state());
    EXPECT_EQ(updates, job.ema->updates());
    EXPECT_EQ(generator, default_generator().state());
    EXPECT_EQ(state.progress, (json{{"mine", 1}}));
  };
  Job sgd(false), adam(true);
  refused(sgd, "c");  // the network fits, the optimizer does not
  // Each entry in turn is lost, of another shape or of another name.
  for (size_t i = 0; i < good.tensors.size(); ++i) {
    io::NamedTensors changed = good.tensors;
    const std::string& name = good.tensors[i].first;
    SCOPED_TRACE(name);
    if (i % 3 == 0)
      changed[i].second = zeros({3, 1, 2}, changed[i].second.dtype());
    else if (i % 3 == 1 || name.ends_with("num_batches_tracked"))  // which may be absent
      changed[i].first += "x";
    else
      changed.erase(changed.begin() + static_cast<std::ptrdiff_t>(i));
    tessera::io::write_safetensors(file("d"), changed, good.metadata);
    refused(adam, "d");
  }
  io::TrainingState state = adam.state();
  io::load_checkpoint(file("c"), state);
  expect_same(saved.net->state_dict(), adam.net->state_dict());
  expect_same(saved.optimizer->state(), adam.optimizer->state());
}

TEST_F(CheckpointTest, RefusedWeightsChangeNothing) {
  const auto net = small_net();
  io::NamedTensors tensors;
  io::append_published(tensors, "", small_net()->state_dict());
  const StateDict before = copy_of(net->state_dict());
  for (size_t i = 0; i < tensors.size(); ++i) {
    io::NamedTensors changed = tensors;
    if (i % 2 == 0)
      changed[i].second = zeros({3, 1, 2}, changed[i].second.dtype());
    else
      changed[i].first += "x";
    tessera::io::write_safetensors(file("w"), changed);
    EXPECT_THROW(io::load_weights(*net, file("w")), ValueError) << tensors[i].first;
    expect_same(before, net->state_dict());
  }
}

TEST_F(CheckpointTest, ProgressThatIsNoTextIsRefused) {
  Job run;
  io::TrainingState state = run.state();
  state.progress = {{"name", "\xff\xfe"}};
  EXPECT_THROW(io::save_checkpoint(file("c"), state), ValueError);
  EXPECT_FALSE(fs::exists(file("c")));
}

TEST_F(CheckpointTest, PartsThatWereNotSavedAreMissed) {
  Job run;
  run.train(1);
  io::TrainingState state;
  state.model = run.net.get();
  io::save_checkpoint(file("c"), state);
  const StateDict before = copy_of(run.net->state_dict());
  run.train(1);
  EXPECT_NE(load_error(file("c"), run).find("holds no optimizer state"), std::string::npos);
  io::load_checkpoint(file("c"), state);
  expect_same(before, run.net->state_dict());
  io::TrainingState average, generator;
  average.ema = run.ema.get();
  generator.generator = &default_generator();
  EXPECT_THROW(io::load_checkpoint(file("c"), average), ValueError);
  EXPECT_THROW(io::load_checkpoint(file("c"), generator), ValueError);
}

TEST_F(CheckpointTest, DamagedFilesAreRefused) {
  Job run;
  run.train(1);
  io::save_checkpoint(file("c"), run.state());
  const std::vector<uint8_t> bytes = tessera::io::read_file(file("c"));
  const StateDict before = copy_of(run.net->state_dict());
  for (size_t part = 0; part < 64; ++part) {
    const size_t n = bytes.size() * part / 64;
    tessera::io::write_file_atomic(file("t"), std::as_bytes(std::span(bytes.data(), n)));
    EXPECT_TRUE(load_error(file("t"), run).starts_with(cat("IoError ", file("t").string())))
        << n << " bytes";
    EXPECT_THROW(io::read_checkpoint_progress(file("t")), IoError);
  }
  EXPECT_TRUE(load_error(file("none"), run).starts_with("IoError "));
  io::save_weights(*run.net, file("w"));
  EXPECT_NE(load_error(file("w"), run).find("not a training checkpoint"), std::string::npos);
  expect_same(before, run.net->state_dict());
}

TEST_F(CheckpointTest, DamagedHeadersAreRefused) {
  Job run;
  run.train(1);
  io::save_checkpoint(file("c"), run.state());
  const tessera::io::Safetensors good = tessera::io::read_safetensors(file("c"));
  const std::string key = good.metadata.begin()->first;
  const json header = json::parse(good.metadata.at(key));
  std::vector<std::string> texts{"", "{", "[]", "3", "{\"version\":1}"};
  const auto with = [&](const char* name, const json& value) {
    json changed = header;
    changed[name] = value;
    texts.push_back(changed.dump());
  };
  with("version", 2);
  with("version", "1");
  with("generator", "x");
  with("generator", {1, "x", 3});
  with("ema_updates", "many");
  with("ema_updates", json::array());
  for (const std::string& text : texts) {
    tessera::io::write_safetensors(file("d"), good.tensors, {{key, text}});
    EXPECT_TRUE(load_error(file("d"), run).starts_with("IoError ")) << text;
  }
  json two_words = header;
  two_words["generator"] = {1, 2};
  tessera::io::write_safetensors(file("d"), good.tensors, {{key, two_words.dump()}});
  EXPECT_NE(load_error(file("d"), run), "");
  json negative = header;
  negative["ema_updates"] = -1;
  tessera::io::write_safetensors(file("d"), good.tensors, {{key, negative.dump()}});
  EXPECT_NE(load_error(file("d"), run), "");
}

// Lets this process write at most `bytes` to any file, without dying of it.
class FileLimit {
 public:
  explicit FileLimit(rlim_t bytes) {
    getrlimit(RLIMIT_FSIZE, &old_);
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    const struct rlimit limited { bytes, old_.rlim_max };
    setrlimit(RLIMIT_FSIZE, &limited);
  }
  ~FileLimit() {
    setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, handler_);
  }
  FileLimit(const FileLimit&) = delete;
  FileLimit& operator=(const FileLimit&) = delete;

 private:
  struct rlimit old_ {};
  void (*handler_)(int) = SIG_DFL;
};

TEST_F(CheckpointTest, AFullDiskKeepsTheOldFile) {
  Job run;
  run.train(1);
  io::save_checkpoint(file("c"), run.state());
  const std::vector<uint8_t> before = tessera::io::read_file(file("c"));
  run.train(1);
  std::string message;
  {
    FileLimit limit(before.size() / 2);
    try {
      io::save_checkpoint(file("c"), run.state());
    } catch (const IoError& e) {
      message = e.what();
    }
  }
  EXPECT_TRUE(message.starts_with(file("c").string())) << message;
  EXPECT_EQ(tessera::io::read_file(file("c")), before);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
  EXPECT_EQ(load_error(file("c"), run), "");
}

TEST_F(CheckpointTest, WeightsRoundTripInTorchsLayout) {
  const auto a = small_net(), b = small_net();
  io::save_weights(*a, file("w"), {{"made", "here"}});
  const tessera::io::Safetensors stored = tessera::io::read_safetensors(file("w"));
  EXPECT_EQ(stored.metadata.at("made"), "here");
  EXPECT_EQ(stored.find("0.weight").shape(), Shape({4, 3, 3, 3}));
  // OIHW (1, 2, 0, 1) is OHWI (1, 0, 1, 2).
  const std::vector<double> there = stored.find("0.weight").to_vector<double>(),
                            here = a->parameters()[0].to_vector<double>();
  EXPECT_EQ(there[((1 * 3 + 2) * 3 + 0) * 3 + 1], here[((1 * 3 + 0) * 3 + 1) * 3 + 2]);
  EXPECT_TRUE(io::load_weights(*b, file("w")).clean());
  expect_same(a->state_dict(), b->state_dict());
}

TEST_F(CheckpointTest, WrapperPrefixesAreRemovedWhenAllNamesHaveThem) {
  const auto a = small_net();
  io::NamedTensors plain;
  io::append_published(plain, "", a->state_dict());
  for (const char* prefix : {"module.", "_orig_mod.", "module._orig_mod."}) {
    io::NamedTensors wrapped;
    for (const auto& [name, tensor] : plain) wrapped.emplace_back(prefix + name, tensor);
    tessera::io::write_safetensors(file("p"), wrapped);
    const auto b = small_net();
    EXPECT_TRUE(io::load_weights(*b, file("p")).clean()) << prefix;
    expect_same(a->state_dict(), b->state_dict());
  }
  io::NamedTensors mixed = plain;
  mixed[0].first = "module." + mixed[0].first;
  tessera::io::write_safetensors(file("p"), mixed);
  try {
    io::load_weights(*small_net(), file("p"));
    FAIL() << "half-wrapped names must not load";
  } catch (const ValueError& e) {
    const std::string text = e.what();
    EXPECT_TRUE(text.starts_with(file("p").string())) << text;
    EXPECT_NE(text.find("missing 0.weight"), std::string::npos) << text;
    EXPECT_NE(text.find("unexpected module.0.weight"), std::string::npos) << text;
  }
  const LoadReport loose = io::load_weights(*small_net(), file("p"), false);
  EXPECT_EQ(loose.missing.size(), 1u);
  EXPECT_EQ(loose.unexpected.size(), 1u);
}

// Names of torchvision's first DenseNet files.
class DenseLayer final : public Module {
 public:
  DenseLayer() {
    norm1 = make_module<BatchNorm>("norm1", 3);
    conv2 = make_module<Conv2d>("conv2", 3, 3, 1, Conv2d::Options{.bias = false});
  }
  std::shared_ptr<BatchNorm> norm1;
  std::shared_ptr<Conv2d> conv2;
};

TEST_F(CheckpointTest, TheFirstDenseNetsNamesAreUnderstood) {
  const DenseLayer from;
  fill_(from.norm1->running_var, 3);
  io::NamedTensors old;
  for (auto [name, tensor] : std::vector<std::pair<std::string, Tensor>>{
           {"norm.1.weight", from.norm1->weight},
           {"norm.1.bias", from.norm1->bias},
           {"norm.1.running_mean", from.norm1->running_mean},
           {"norm.1.running_var", from.norm1->running_var},
           {"conv.2.weight", to_published(from.conv2->weight, Layout::filter)}})
    old.emplace_back("features.denselayer12." + name, tensor.detach());
  tessera::io::write_safetensors(file("old"), old);
  const auto to = std::make_shared<DenseLayer>();
  Sequential features;
  const auto blocks = std::make_shared<Sequential>();
  blocks->push_back("denselayer12", to);
  features.push_back("features", blocks);
  EXPECT_TRUE(io::load_weights(features, file("old")).clean());
  EXPECT_TRUE(same_bits(to->conv2->weight, from.conv2->weight));
  EXPECT_TRUE(same_bits(to->norm1->running_var, from.norm1->running_var));
  // Elsewhere such names stay what they are.
  for (auto& [name, tensor] : old) name.replace(9, 10, "otherlayer");
  tessera::io::write_safetensors(file("other"), old);
  EXPECT_EQ(io::load_weights(features, file("other"), false).unexpected.size(), old.size());
}

TEST_F(CheckpointTest, WeightsOfOtherFloatingTypesAndStridesAreConverted) {
  Conv2d conv(4, 6, 3), wide(4, 6, 3);
  Conv2d half(4, 6, 3);
  half.to(DType::f16);
  io::save_weights(half, file("half"));
  io::load_weights(conv, file("half"));
  EXPECT_EQ(conv.weight.to_vector<double>(), half.weight.to_vector<double>());
  EXPECT_EQ(conv.bias.to_vector<double>(), half.bias.to_vector<double>());
  io::save_weights(conv, file("single"));
  wide.to(DType::f64);
  io::load_weights(wide, file("single"));
  EXPECT_EQ(wide.weight.to_vector<double>(), conv.weight.to_vector<double>());
  const uint32_t version = wide.bias.version(), plain = conv.bias.version();
  io::load_weights(wide, file("single"));
  io::load_weights(conv, file("single"));
  EXPECT_GT(wide.bias.version(), version);  // packed copies must notice
  EXPECT_GT(conv.bias.version(), plain);
}

TEST_F(CheckpointTest, AFilterOfAnotherRankIsReported) {
  const auto net = small_net();
  io::NamedTensors tensors;
  io::append_published(tensors, "", net->state_dict());
  tensors[0].second = zeros({4, 27});
  tessera::io::write_safetensors(file("w"), tensors);
  EXPECT_EQ(io::load_weights(*net, file("w"), false).mismatched.size(), 1u);
}

}  // namespace
}  // namespace tessera::nn

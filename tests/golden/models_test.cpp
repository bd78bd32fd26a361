#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "autograd/engine.h"
#include "models/registry.h"
#include "tensor/view.h"
#include "tests/common/hash_fill.h"
#include "tests/golden/compare.h"
#include "tests/golden/model_run.h"

namespace tessera::golden {
namespace {

/// Bounds of one dtype. `gradient` in f32 is loose because batch norm over few values amplifies
/// rounding; float64 is the run that finds mistakes.
struct Bounds {
  double logits, training, gradient, running;
  /// Gradients whose norm is below this share of the largest are not compared: where the exact
  /// gradient is zero (a bias before batch norm), only rounding is left.
  double negligible;
};
Bounds bounds(DType dtype) {
  return dtype == DType::f64 ? Bounds{1e-5, 1e-5, 1e-5, 1e-5, 1e-9}
                             : Bounds{1e-4, 1e-3, 5e-2, 1e-3, 1e-4};
}

struct ModelCase {
  std::string model, salt;
  Json entry;
  std::map<std::string, Reference> stored;
};

/// L2 norm and first elements in torch's layout, as the listing has them.
struct Summary {
  double l2 = 0;
  std::vector<double> head;
};
Summary summarize(const Tensor& tensor, nn::Layout layout) {
  const auto values = nn::to_published(tensor, layout).to_vector<double>();
  Summary s;
  for (const double v : values) s.l2 += v * v;
  s.l2 = std::sqrt(s.l2);
  s.head.assign(values.begin(), values.begin() + std::min<std::ptrdiff_t>(8, std::ssize(values)));
  return s;
}

Reference vector_of(const std::vector<double>& values) { return {{std::ssize(values)}, values}; }

/// The entries must be those of the listing, no more and no fewer, with its torch shapes.
void expect_same_entries(const std::string& title, const nn::StateDict& ours, const Json& listed) {
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const nn::StateEntry& e : ours)
    shapes[e.name] = nn::to_published(e.tensor, e.layout).shape().vector();
  for (const auto& [name, spec] : listed.items()) {
    const auto it = shapes.find(name);
    if (it == shapes.end()) {
      ADD_FAILURE() << title << name << ": not in the network";
    } else {
      const auto want = spec.at("shape").get<std::vector<int64_t>>();
      EXPECT_EQ(it->second, want) << title << name;
      shapes.erase(it);
    }
  }
  for (const auto& [name, shape] : shapes)
    ADD_FAILURE() << title << name << ": in the network but not in the reference";
}

void check_gradients(const std::string& title, const nn::StateDict& parameters, const Json& listed,
                     const Bounds& limit) {
  double largest = 0;
  for (const auto& [name, spec] : listed.items())
    largest = std::max(largest, spec.at("grad").at("l2").get<double>());
  for (const nn::StateEntry& p : parameters) {
    if (!listed.contains(p.name)) continue;  // reported already
    const Tensor g = p.tensor.grad();
    if (!g.defined()) {
      ADD_FAILURE() << title << p.name << ": no gradient";
      continue;
    }
    const Json& want = listed.at(p.name).at("grad");
    const double norm = want.at("l2").get<double>();
    const Summary got = summarize(g, p.layout);
    if (norm <= limit.negligible * largest) {
      // Only required to be as small.
      expect_close(title + "grad " + p.name + " l2", got.l2, norm,
                   {0, 10 * limit.negligible * largest});
      continue;
    }
    expect_close(title + "grad " + p.name + " l2", got.l2, norm, {limit.gradient, 0});
    expect_close(title + "grad " + p.name + " head", vector_of(got.head),
                 vector_of(want.at("head").get<std::vector<double>>()), {0, limit.gradient * norm});
  }
}

nn::StateDict running_statistics(const nn::Module& net) {
  nn::StateDict out;
  for (const nn::StateEntry& e : net.named_buffers())
    if (e.name.ends_with("running_mean") || e.name.ends_with("running_var")) out.push_back(e);
  return out;
}

void check_running(const std::string& title, const nn::StateDict& buffers, const Json& listed,
                   const Bounds& limit) {
  for (const nn::StateEntry& b : buffers) {
    if (!listed.contains(b.name)) continue;
    const Json& want = listed.at(b.name).at("after");
    const Summary got = summarize(b.tensor, b.layout);
    expect_close(title + b.name + " l2", got.l2, want.at("l2").get<double>(), {limit.running, 0});
    expect_close(title + b.name + " head", vector_of(got.head),
                 vector_of(want.at("head").get<std::vector<double>>()), {limit.running, 0});
  }
}

void run_model(const ModelCase& c, DType dtype) {
  const std::string title = cat(c.model, " ", to_string(dtype), " ");
  const Bounds limit = bounds(dtype);
  const Reference& logits = c.stored.at("logits");
  const auto net = models::create(c.model, {.num_classes = logits.shape.at(1)});
  const Json& parameters = c.entry.at("parameters");
  const Json& running = c.entry.at("running");
  expect_same_entries(title, net->named_parameters(), parameters);
  expect_same_entries(title, running_statistics(*net), running);
  net->to(dtype);
  fill_by_name(*net, c.salt);
  net->to(test_device());

  const auto shape = c.entry.at("input").get<std::vector<int64_t>>();
  const Tensor x = from_torch(testing::hash_uniform(c.salt + "input", numel(Shape(shape)), -2, 2),
                              shape, Layout::channels_second, dtype);
  net->eval();
  {
    NoGradGuard no_grad;
    expect_close(title + "logits", to_torch(net->forward(x), Layout::plain), logits,
                 {limit.logits, 0});
  }

  net->train();
  disable_dropout(*net);
  std::vector<int64_t> target;
  for (int64_t i = 0; i < shape.at(0); ++i) target.push_back((7 * i + 3) % logits.shape.at(1));
  const TrainingOutput out =
      training_forward(c.model, *net, x, view::to(from_vector(target), test_device()));
  expect_close(title + "train_logits", to_torch(out.logits, Layout::plain),
               c.stored.at("train_logits"), {limit.training, 0});
  expect_close(title + "loss", to_torch(out.loss, Layout::plain), c.stored.at("loss"),
               {limit.training, 0});
  backward(out.loss);
  check_gradients(title, net->named_parameters(), parameters, limit);
  check_running(title, running_statistics(*net), running, limit);
}

void run_case(const std::filesystem::path& listing) {
  const Json entry = read_json(listing);
  auto arrays = listing;
  const ModelCase c{entry.at("model"), entry.at("salt"), entry,
                    read_arrays(arrays.replace_extension(".npz"))};
  if (const std::string reason = reason_to_skip(c.model); !reason.empty()) GTEST_SKIP() << reason;
  for (const DType dtype : {DType::f64, DType::f32}) {
    try {
      run_model(c, dtype);
    } catch (const std::exception& e) {
      ADD_FAILURE() << c.model << " " << to_string(dtype) << " threw: " << e.what();
    }
  }
}

void list_cases(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& file : std::filesystem::directory_iterator(folder))
    if (file.path().extension() == ".json") files.push_back(file.path());
  std::sort(files.begin(), files.end());
  for (const auto& file : files)
    add_test("GoldenModels", file.stem().string(), [file] { run_case(file); });
}

[[maybe_unused]] const bool added = add_suite("GoldenModels", golden_dir() / "models", list_cases);

}  // namespace
}  // namespace tessera::golden

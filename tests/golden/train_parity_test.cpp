#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "autograd/engine.h"
#include "data/codec.h"
#include "data/market1501.h"
#include "data/resize.h"
#include "models/registry.h"
#include "nn/optim/optimizer.h"
#include "ops/loss/cross_entropy.h"
#include "tests/common/hash_fill.h"
#include "tests/golden/files.h"
#include "tests/golden/model_run.h"

namespace tessera::golden {
namespace {

std::string fnv1a(const std::vector<uint8_t>& bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  char hex[17];
  std::snprintf(hex, sizeof hex, "%016llx",
                static_cast<unsigned long long>(testing::hash_key(text)));
  return hex;
}

/// The run that train_parity.json describes: its images, their fixed order, the network and the
/// optimizer, all from that file's fields (see make_train_parity.py for their meaning).
class ParityRun {
 public:
  explicit ParityRun(const std::filesystem::path& folder)
      : spec_(read_json(std::filesystem::path(TESSERA_SOURCE_DIR) /
                        "tests/golden/train_parity.json")),
        images_(data::load_market1501(folder).train) {
    TESSERA_CHECK(ValueError, number("images") == std::ssize(images_), folder.string(), " has ",
                  images_.size(), " training images, expected ", number("images"));
  }

  const Json& spec() const { return spec_; }

  /// Fails where decoding or resizing gives other bytes, which would move every loss.
  void check_first_batch() const {
    const Json& first = spec_.at("first_batch");
    const auto indices = batch_indices(0);
    for (size_t i = 0; i < indices.size(); ++i) {
      const data::ReidImage& image = images_[indices[i]];
      EXPECT_EQ(image.path.filename().string(), first.at("files").at(i).get<std::string>());
      EXPECT_EQ(image.label, first.at("labels").at(i).get<int64_t>()) << image.path;
      EXPECT_EQ(fnv1a(data::read_image(image.path).pixels),
                first.at("decoded_fnv1a64").at(i).get<std::string>())
          << image.path << " decoded";
      EXPECT_EQ(fnv1a(resized(image).pixels), first.at("resized_fnv1a64").at(i).get<std::string>())
          << image.path << " resized";
    }
  }

  std::vector<double> losses(DType dtype, int64_t steps) const {
    const auto model = spec_.at("model").get<std::string>();
    const auto net = models::create(model, {.num_classes = number("classes")});
    net->to(dtype);
    fill_by_name(*net, "");
    net->train();
    nn::Sgd optimizer(net->parameters(), {.lr = spec_.at("lr"),
                                          .momentum = spec_.at("momentum"),
                                          .weight_decay = spec_.at("weight_decay"),
                                          .nesterov = spec_.at("nesterov")});
    std::vector<double> out;
    for (int64_t step = 0; step < steps; ++step) {
      const auto [x, target] = batch(step, dtype);
      const TrainingOutput y = training_forward(model, *net, x, target);
      optimizer.zero_grad();
      backward(y.loss);
      optimizer.step();
      out.push_back(y.loss.item());
    }
    return out;
  }

 private:
  int64_t number(const char* name) const { return spec_.at(name).get<int64_t>(); }

  std::vector<size_t> batch_indices(int64_t step) const {
    const auto stride = spec_.at("order").at("stride").get<int64_t>();
    const auto offset = spec_.at("order").at("offset").get<int64_t>();
    std::vector<size_t> out;
    for (int64_t k = number("batch") * step; k < number("batch") * (step + 1); ++k)
      out.push_back(static_cast<size_t>((stride * k + offset) % std::ssize(images_)));
    return out;
  }

  data::Image resized(const data::ReidImage& image) const {
    return data::resize(data::read_image(image.path), number("height"), number("width"),
                        data::Filter::kBicubic);
  }

  /// (batch, H, W, 3) normalised in `dtype`, as torch does it, and the labels.
  std::pair<Tensor, Tensor> batch(int64_t step, DType dtype) const {
    return dtype == DType::f64 ? batch_of<double>(step) : batch_of<float>(step);
  }
  template <class T>
  std::pair<Tensor, Tensor> batch_of(int64_t step) const {
    const auto mean = spec_.at("mean").get<std::vector<T>>();
    const auto deviation = spec_.at("std").get<std::vector<T>>();
    std::vector<T> values;
    std::vector<int64_t> labels;
    for (const size_t index : batch_indices(step)) {
      const data::Image image = resized(images_[index]);
      for (size_t i = 0; i < image.pixels.size(); ++i)
        values.push_back((static_cast<T>(image.pixels[i]) / 255 - mean[i % 3]) / deviation[i % 3]);
      labels.push_back(images_[index].label);
    }
    const Shape shape{std::ssize(labels), number("height"), number("width"), 3};
    return {from_vector(values, shape), from_vector(labels)};
  }

  Json spec_;
  std::vector<data::ReidImage> images_;
};

struct Curve {
  std::string name;
  std::vector<double> losses;
};
struct Difference {
  double relative = 0;
  std::string text;
};
/// The largest relative difference of `got`, which may be shorter than the curve.
Difference worst_difference(const std::vector<double>& got, const Curve& want) {
  Difference worst;
  for (size_t s = 0; s < got.size(); ++s) {
    const double error = std::abs(got[s] / want.losses.at(s) - 1);
    if (s > 0 && error <= worst.relative) continue;
    worst = {error, cat("worst relative difference to ", want.name, " ", error, " at step ", s,
                        ": loss ", got[s], ", expected ", want.losses[s])};
    if (std::isnan(error)) return worst;
  }
  return worst;
}

void run_f64(const std::filesystem::path& folder) {
  const ParityRun run(folder);
  run.check_first_batch();
  const Curve want{"PyTorch's float64", run.spec().at("losses_float64")};
  const auto steps = std::min<int64_t>(10, std::ssize(want.losses));
  const Difference worst = worst_difference(run.losses(DType::f64, steps), want);
  std::printf("float64: %s\n", worst.text.c_str());
  EXPECT_LE(worst.relative, 1e-5) << worst.text;
}

// These weights amplify rounding: PyTorch's own float32 curves of two versions differ by up to
// 3.5 %, so the later losses must stay near one of its curves as a whole.
void run_f32(const std::filesystem::path& folder) {
  const ParityRun run(folder);
  run.check_first_batch();
  const Json& spec = run.spec();
  std::vector<Curve> curves{{"PyTorch's float32", spec.at("losses_float32")},
                            {"PyTorch's float64", spec.at("losses_float64")}};
  for (const Json& other : spec.at("other_float32"))
    curves.push_back({"float32 of PyTorch " + other.at("versions").at("torch").get<std::string>(),
                      other.at("losses")});
  const auto got = run.losses(DType::f32, std::ssize(curves[0].losses));
  const Difference first = worst_difference({got[0]}, curves[0]);
  EXPECT_LE(first.relative, 1e-5) << first.text;
  double closest = 1;
  for (const Curve& curve : curves) {
    const Difference whole = worst_difference(got, curve);
    std::printf("float32: %s\n", whole.text.c_str());
    closest = std::min(closest, whole.relative);
  }
  EXPECT_LE(closest, 0.03) << "float32 losses leave all of PyTorch's curves";
}

void list_cases(const std::filesystem::path& folder) {
  add_test("TrainParity", "float64", [folder] { run_f64(folder); });
  add_test("TrainParity", "float32", [folder] { run_f32(folder); });
}

[[maybe_unused]] const bool added =
    add_suite("TrainParity", data_dir() / "cuhk03-subset", list_cases);

}  // namespace
}  // namespace tessera::golden

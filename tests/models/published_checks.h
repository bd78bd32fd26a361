#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>

#include "autograd/node.h"
#include "models/registry.h"
#include "nn/init.h"
#include "nn/io/weights.h"
#include "nn/layers/conv.h"
#include "ops/random/random.h"

namespace tessera::models {

// What the tests of classification networks ask in the same way.

inline Tensor random_images(const Shape& shape, uint64_t seed = 1) {
  Generator g(seed);
  return randn(shape, g);
}

/// Learnable parameters, state entries and 10^9 multiply-adds at the usual size of torchvision's
/// network of the same name.
inline void expect_published(const std::string& name, int64_t parameters, int64_t entries,
                             double giga_macs) {
  const ModelInfo& info = find_model(name);
  const auto net = info.create({});
  EXPECT_EQ(net->parameter_count(), parameters) << name;
  EXPECT_EQ(std::ssize(net->state_dict()), entries) << name;
  const int64_t macs = count_macs(*net, {1, info.input_size, info.input_size, 3});
  EXPECT_NEAR(static_cast<double>(macs) / 1e9, giga_macs, 0.0006) << name;
}

inline Tensor entry(const nn::Module& net, const std::string& name) {
  for (const nn::StateEntry& e : net.state_dict())
    if (e.name == name) return e.tensor;
  throw ValueError(cat("the network has no entry ", name));
}

/// Square root of the mean square.
inline double deviation(const nn::Module& net, const std::string& name) {
  double sum = 0;
  const std::vector<double> values = entry(net, name).to_vector<double>();
  for (const double v : values) sum += v * v;
  return std::sqrt(sum / static_cast<double>(values.size()));
}

/// Draws the convolutions so that the norms' initial statistics fit: with the small weights that
/// some networks start from, evaluation returns little but the last bias.
inline void make_responsive(nn::Module& net) {
  net.apply([](nn::Module& module) {
    if (auto* conv = dynamic_cast<nn::Conv2d*>(&module))
      nn::init::kaiming_normal_(conv->weight.detach());
  });
}

inline void expect_near(const Tensor& got, const Tensor& want, double bound) {
  ASSERT_EQ(got.shape(), want.shape());
  const std::vector<double> a = got.to_vector<double>(), b = want.to_vector<double>();
  double largest = 0;
  for (const double v : b) largest = std::max(largest, std::abs(v));
  for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], bound * largest) << i;
}

/// Evaluation without recording, where norms are folded into convolutions, equals evaluation with
/// it. `net` runs once in training mode first, to have running statistics.
inline void expect_folding_is_exact(nn::Module& net, const Tensor& x) {
  net.train();
  net(x);
  net.eval();
  const Tensor recorded = net(x);
  NoGradGuard no_grad;
  const Tensor folded = net(x);
  ASSERT_TRUE(recorded.requires_grad() && !folded.requires_grad());
  expect_near(folded, recorded, 1e-4);
}

/// `to` computes what `from` does, bit for bit, once it has read the file that `from` writes.
inline void expect_round_trip(nn::Module& from, nn::Module& to, const Tensor& x) {
  namespace fs = std::filesystem;
  const fs::path file = fs::temp_directory_path() / cat("tessera_network_", getpid());
  from.eval();
  to.eval();
  NoGradGuard no_grad;
  const std::vector<float> want = from(x).to_vector<float>();
  EXPECT_NE(to(x).to_vector<float>(), want);
  nn::io::save_weights(from, file);
  EXPECT_TRUE(nn::io::load_weights(to, file).clean());
  fs::remove(file);
  EXPECT_EQ(to(x).to_vector<float>(), want);
}

/// The message of the exception of type E that `run` throws.
template <class E, class Run>
std::string message_of(Run run) {
  try {
    run();
  } catch (const E& e) {
    return e.what();
  }
  return "nothing was thrown";
}

}  // namespace tessera::models

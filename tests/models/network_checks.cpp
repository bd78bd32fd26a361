#include "tests/models/network_checks.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "autograd/engine.h"
#include "models/registry.h"
#include "nn/io/weights.h"
#include "nn/layers/conv.h"
#include "nn/optim/optimizer.h"
#include "ops/loss/cross_entropy.h"
#include "ops/random/random.h"

namespace tessera::testing {

namespace fs = std::filesystem;

void expect_published(const Published& p) {
  const nn::init::Skip only_counted;
  const models::ModelInfo& info = models::find_model(p.name);
  const auto network = info.create({});
  EXPECT_EQ(network->parameter_count(), p.parameters) << p.name;
  EXPECT_EQ(std::ssize(network->state_dict()), p.entries) << p.name;
  EXPECT_EQ(models::count_macs(*network, {1, info.input_size, info.input_size, 3}), p.macs)
      << p.name;
}

Tensor random_images(const Shape& shape, uint64_t seed) {
  Generator generator(seed);
  return randn(shape, generator);
}

Tensor entry(const nn::Module& network, const std::string& name) {
  for (const nn::StateEntry& e : network.state_dict())
    if (e.name == name) return e.tensor;
  throw ValueError(cat("the network has no entry ", name));
}

double root_mean_square(const Tensor& t) {
  double sum = 0;
  for (const double v : t.to_vector<double>()) sum += v * v;
  return std::sqrt(sum / static_cast<double>(t.numel()));
}

double largest(const Tensor& t) {
  double most = 0;
  for (const double v : t.to_vector<double>()) most = std::max(most, std::abs(v));
  return most;
}

void expect_near(const Tensor& got, const Tensor& want, double bound) {
  ASSERT_EQ(got.shape(), want.shape());
  const std::vector<double> a = got.to_vector<double>(), b = want.to_vector<double>();
  const double most = bound * largest(want);
  for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], most) << i;
}

void make_responsive(nn::Module& network) {
  network.apply([](nn::Module& module) {
    if (auto* conv = dynamic_cast<nn::Conv2d*>(&module))
      nn::init::kaiming_normal_(conv->weight.detach());
  });
}

void expect_folding_is_exact(nn::Module& network, const Tensor& x, double bound, int warm_up) {
  network.train();
  for (int i = 0; i < warm_up; ++i) network(x);
  network.eval();
  const Tensor recorded = network(x);
  NoGradGuard no_grad;
  const Tensor folded = network(x);
  ASSERT_TRUE(recorded.requires_grad() && !folded.requires_grad());
  expect_near(folded, recorded, bound);
}

void expect_round_trip(nn::Module& from, nn::Module& to, const Tensor& x) {
  const fs::path file = fs::temp_directory_path() / cat("tessera_network_", ::getpid());
  NoGradGuard no_grad;
  from.train();
  from(x);
  from.eval();
  to.eval();
  const std::vector<float> want = from(x).to_vector<float>();
  EXPECT_NE(to(x).to_vector<float>(), want);
  nn::io::save_weights(from, file);
  const nn::LoadReport report = nn::io::load_weights(to, file);
  fs::remove(file);
  EXPECT_TRUE(report.clean()) << report.summary();
  EXPECT_EQ(to(x).to_vector<float>(), want);
}

double overfitted_loss(nn::Module& network, const Shape& input, double lr, int steps) {
  const Tensor x = random_images(input, 5), y = arange(input[0]);
  nn::Sgd sgd(network.parameters(), {.lr = lr, .momentum = 0.9});
  for (int step = 0; step < steps; ++step) {
    sgd.zero_grad();
    const Tensor loss = cross_entropy(network.forward(x), y);
    if (step == 0) {
      EXPECT_GT(loss.item(), 0.8);
    }
    backward(loss);
    sgd.step();
  }
  return cross_entropy(network.forward(x), y).item();
}

}  // namespace tessera::testing

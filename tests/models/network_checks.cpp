#include "tests/models/network_checks.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "autograd/engine.h"
#include "models/registry.h"
#include "nn/io/weights.h"
#include "nn/optim/optimizer.h"
#include "ops/loss/cross_entropy.h"
#include "ops/random/random.h"

namespace tessera::testing {

namespace fs = std::filesystem;

void expect_published(const Published& p) {
  const auto network = models::create(p.name);
  EXPECT_EQ(network->parameter_count(), p.parameters) << p.name;
  EXPECT_EQ(static_cast<int64_t>(network->state_dict().size()), p.entries) << p.name;
  EXPECT_EQ(models::count_macs(*network, {1, 224, 224, 3}), p.macs) << p.name;
}

Tensor entry(const nn::Module& network, const std::string& name) {
  for (const nn::StateEntry& e : network.state_dict())
    if (e.name == name) return e.tensor;
  ADD_FAILURE() << name << " is missing";
  return {};
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

void expect_round_trip(const std::function<std::shared_ptr<nn::Module>()>& make,
                       const Shape& input) {
  const fs::path file = fs::temp_directory_path() / cat("tessera_network_", ::getpid());
  manual_seed(1);
  const auto first = make();
  Generator generator(2);
  const Tensor x = randn(input, generator);
  first->forward(x);  // running statistics
  manual_seed(3);
  const auto second = make();
  nn::io::save_weights(*first, file);
  const nn::LoadReport report = nn::io::load_weights(*second, file);
  fs::remove(file);
  EXPECT_TRUE(report.clean()) << report.summary();
  first->eval();
  second->eval();
  NoGradGuard no_grad;
  EXPECT_EQ(first->forward(x).to_vector<float>(), second->forward(x).to_vector<float>());
}

double overfitted_loss(nn::Module& network, const Shape& input, double lr, int steps) {
  Generator generator(5);
  const Tensor x = randn(input, generator), y = arange(input[0]);
  nn::Sgd sgd(network.parameters(), {.lr = lr, .momentum = 0.9});
  for (int step = 0; step < steps; ++step) {
    sgd.zero_grad();
    backward(cross_entropy(network.forward(x), y));
    sgd.step();
  }
  return cross_entropy(network.forward(x), y).item();
}

}  // namespace tessera::testing

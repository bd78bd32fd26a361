#pragma once

#include <string>

#include "nn/init.h"
#include "nn/module.h"

/// What the tests of several networks ask.
namespace tessera::testing {

/// Learnable parameters, state entries and multiply-adds for one image of the usual size, as
/// torchvision publishes them or as counted from its modules.
struct Published {
  const char* name;
  int64_t parameters, entries, macs;
};
void expect_published(const Published& network);

Tensor random_images(const Shape& shape, uint64_t seed = 1);

/// The entry of that name; ValueError if there is none.
Tensor entry(const nn::Module& network, const std::string& name);
/// Root mean square and largest absolute value.
double root_mean_square(const Tensor& t);
double largest(const Tensor& t);

/// Equal shapes, and no difference above `bound` times the largest of `want`.
void expect_near(const Tensor& got, const Tensor& want, double bound);

/// Draws the convolutions so that the norms' initial statistics fit: with the small weights that
/// some networks start from, evaluation returns little but the last bias.
void make_responsive(nn::Module& network);

/// Evaluation without recording, where norms are folded into convolutions and activations fused,
/// equals evaluation with it to `bound` times the largest output. The network runs in training mode
/// first, `warm_up` times, to have running statistics.
void expect_folding_is_exact(nn::Module& network, const Tensor& x, double bound = 1e-4,
                             int warm_up = 1);

/// `to` computes what `from` does, bit for bit, once it has read the file that `from` writes, and
/// something else before. `from` runs once in training mode first, to have running statistics.
void expect_round_trip(nn::Module& from, nn::Module& to, const Tensor& x);

/// A network whose weights are zeros, to load others into.
template <class Network, class Config>
Network undrawn(const Config& config) {
  const nn::init::Skip loaded_later;
  return Network(config);
}

/// Cross entropy after some steps of SGD with momentum on a batch of noise images, image i being of
/// class i. Expects it to be above 0.8 before the first.
double overfitted_loss(nn::Module& network, const Shape& input, double lr, int steps);

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

}  // namespace tessera::testing

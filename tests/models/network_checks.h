#pragma once

#include <functional>
#include <memory>
#include <string>

#include "nn/module.h"

/// What the tests of several networks ask.
namespace tessera::testing {

/// Learnable parameters, state entries and multiply-adds for one 224 x 224 image, as torchvision
/// publishes them or as counted from its modules.
struct Published {
  const char* name;
  int64_t parameters, entries, macs;
};
void expect_published(const Published& network);

/// The entry of that name; a test failure and an undefined tensor if there is none.
Tensor entry(const nn::Module& network, const std::string& name);
/// Root mean square and largest absolute value.
double root_mean_square(const Tensor& t);
double largest(const Tensor& t);

/// Weights saved from one network and loaded into another give the first one's outputs.
void expect_round_trip(const std::function<std::shared_ptr<nn::Module>()>& make,
                       const Shape& input);

/// Cross entropy after some steps of SGD with momentum on a batch of noise images, image i being of
/// class i.
double overfitted_loss(nn::Module& network, const Shape& input, double lr, int steps);

}  // namespace tessera::testing

#pragma once

#include <memory>
#include <string>

#include "nn/module.h"

namespace tessera::golden {

/// Why a network is not run: it belongs to a family that Tessera does not have yet. Empty for the
/// networks of the registry and for names that are unknown altogether.
std::string reason_to_skip(const std::string& model);

/// Fills every entry of the module's state dict with hash_parameter of salt + its torch name and
/// its torch shape.
void fill_by_name(nn::Module& net, const std::string& salt);

/// Sets the probability of every dropout and stochastic depth below to 0.
void disable_dropout(nn::Module& net);

struct TrainingOutput {
  Tensor logits;  ///< of the main classifier
  Tensor loss;    ///< mean cross entropy, auxiliary classifiers included
};
/// One training forward pass by the rules of the network's family.
TrainingOutput training_forward(const std::string& model, nn::Module& net, const Tensor& x,
                                const Tensor& target);

}  // namespace tessera::golden

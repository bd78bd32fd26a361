#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "nn/module.h"

namespace tessera::models {

struct CreateOptions {
  int64_t num_classes = 1000;
};

/// A network that can be made by name.
struct ModelInfo {
  std::string name;    ///< torchvision's name where it has one
  int64_t input_size;  ///< usual height and width
  std::string source;  ///< paper
  std::function<std::shared_ptr<nn::Module>(const CreateOptions&)> create;
};

/// All networks, sorted by name.
const std::vector<ModelInfo>& registry();
/// The entry called `name`; ValueError listing the names otherwise.
const ModelInfo& find_model(const std::string& name);
/// Multiply-adds of the convolutions and linear layers of one forward pass on an input of `shape`,
/// in evaluation mode: the network runs once on zeros and the layers report their sizes.
int64_t count_macs(nn::Module& network, const Shape& shape);
/// A freshly initialised network (from the calling thread's default generator).
std::shared_ptr<nn::Module> create(const std::string& name, const CreateOptions& options = {});

}  // namespace tessera::models

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "nn/module.h"

namespace tessera::models {

struct CreateOptions {
  int64_t num_classes = 1000;
  /// GoogLeNet and Inception v3 convert images normalised by ImageNet's statistics to the 2 rgb - 1
  /// that their published weights expect. The other networks have no such option.
  bool transform_input = false;
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
/// in evaluation mode. The network runs on an empty batch, in which the layers have their sizes but
/// no work.
int64_t count_macs(nn::Module& network, const Shape& shape);
/// A freshly initialised network (from the calling thread's default generator).
std::shared_ptr<nn::Module> create(const std::string& name, const CreateOptions& options = {});

}  // namespace tessera::models

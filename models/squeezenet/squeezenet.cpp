#include "models/squeezenet/squeezenet.h"

#include <algorithm>

#include "nn/init.h"
#include "nn/layers/conv.h"
#include "nn/layers/dropout.h"
#include "ops/index/concat.h"
#include "ops/index/view.h"
#include "ops/pool/adaptive_pool.h"
#include "ops/pool/max_pool.h"

namespace tessera::models {
namespace {

using nn::Conv2d;

// 1x1 squeeze, then 1x1 and 3x3 expansions side by side.
class Fire final : public nn::Module {
 public:
  Fire(int64_t in, int64_t squeeze, int64_t expand) {
    const Conv2d::Options relu{.activation = Activation::relu};
    squeeze_ = make_module<Conv2d>("squeeze", in, squeeze, 1, relu);
    expand1x1_ = make_module<Conv2d>("expand1x1", squeeze, expand, 1, relu);
    expand3x3_ = make_module<Conv2d>("expand3x3", squeeze, expand, 3,
                                     Conv2d::Options{.padding = 1, .activation = Activation::relu});
  }
  Tensor forward(const Tensor& x) override {
    const Tensor y = squeeze_->forward(x);
    return concat({expand1x1_->forward(y), expand3x3_->forward(y)}, 3);
  }

 private:
  std::shared_ptr<Conv2d> squeeze_, expand1x1_, expand3x3_;
};

Tensor pool(const Tensor& x) {
  return max_pool2d(x, {.kernel = 3, .stride = 2, .ceil_mode = true});
}

}  // namespace

SqueezeNetConfig squeezenet_config(std::string_view version) {
  if (version == "1_0") return {};
  if (version == "1_1") return {.stem_channels = 64, .stem_kernel = 3, .fires = {2, 2, 4}};
  throw ValueError(cat("SqueezeNet version must be 1_0 or 1_1, got '", version, "'"));
}

SqueezeNet::SqueezeNet(const SqueezeNetConfig& config) {
  TESSERA_CHECK(ValueError, *std::min_element(config.fires.begin(), config.fires.end()) > 0,
                "SqueezeNet: every group needs a fire module");
  TESSERA_CHECK(ValueError, config.num_classes > 0,
                "SqueezeNet: num_classes must be positive, got ", config.num_classes);
  build(config);
  const nn::Module* last = classifier_->children().back().second.get();
  for (const auto& [name, module] : named_modules()) {
    auto* conv = dynamic_cast<Conv2d*>(module);
    if (!conv) continue;
    if (conv == last) {
      nn::init::normal_(conv->weight.detach(), 0, 0.01);
    } else {
      nn::init::kaiming_uniform_(conv->weight.detach());
    }
    nn::init::constant_(conv->bias.detach(), 0);
  }
}

void SqueezeNet::build(const SqueezeNetConfig& config) {
  const nn::init::Skip drawn_afterwards;
  features_ = make_module<nn::Sequential>("features");
  features_->emplace<Conv2d>("0", 3, config.stem_channels, config.stem_kernel,
                             Conv2d::Options{.stride = 2, .activation = Activation::relu});
  int64_t channels = config.stem_channels, fire = 0, index = 2;  // the ReLU counts
  for (const int64_t count : config.fires) {
    features_->emplace<nn::Lambda>(std::to_string(index++), pool);
    for (int64_t i = 0; i < count; ++i, ++fire) {
      const int64_t squeeze = 16 * (fire / 2 + 1);
      features_->emplace<Fire>(std::to_string(index++), channels, squeeze, 4 * squeeze);
      channels = 8 * squeeze;
    }
  }
  classifier_ = make_module<nn::Sequential>("classifier");
  classifier_->emplace<nn::Dropout>("0", config.dropout);
  classifier_->emplace<Conv2d>("1", channels, config.num_classes, 1,
                               Conv2d::Options{.activation = Activation::relu});
}

Tensor SqueezeNet::forward(const Tensor& x) {
  return flatten(global_avg_pool2d(classifier_->forward(features(x))), 1);
}

}  // namespace tessera::models

#include "models/vgg/vgg.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "nn/init.h"
#include "nn/layers/conv_norm.h"
#include "nn/layers/dropout.h"
#include "nn/layers/linear.h"
#include "ops/index/view.h"
#include "ops/pointwise/relu.h"
#include "ops/pool/adaptive_pool.h"
#include "ops/pool/max_pool.h"

namespace tessera::models {
namespace {

constexpr int64_t kMap = 7;  // height and width of what the classifier sees
constexpr std::array<int64_t, 5> kChannels{64, 128, 256, 512, 512};

// Convolutions and norms are numbered as in a list that counts the ReLUs and pools too.
class Features final : public nn::Module {
 public:
  explicit Features(const VggConfig& config) {
    int64_t in = 3, index = 0;
    for (size_t stage = 0; stage < stages_.size(); ++stage) {
      for (int64_t i = 0; i < config.depths[stage]; ++i) {
        add(in, kChannels[stage], index, config.batch_norm, stages_[stage]);
        in = kChannels[stage];
        index += config.batch_norm ? 3 : 2;
      }
      ++index;
    }
  }

  Tensor forward(const Tensor& x) override {
    Tensor y = x;
    for (std::vector<Step>& stage : stages_) {
      for (Step& s : stage)
        y = s.normed ? s.normed->forward(y, Activation::relu) : s.conv->forward(y);
      y = max_pool2d(y, {.kernel = 2});
    }
    return y;
  }

 private:
  // A convolution with its ReLU, or one with a norm and a ReLU.
  struct Step {
    std::shared_ptr<nn::Conv2d> conv;
    std::optional<nn::ConvNorm> normed;
  };

  void add(int64_t in, int64_t out, int64_t index, bool with_norm, std::vector<Step>& steps) {
    Step step;
    step.conv = make_module<nn::Conv2d>(
        std::to_string(index), in, out, 3,
        nn::Conv2d::Options{.padding = 1,
                            .activation = with_norm ? Activation::none : Activation::relu});
    if (with_norm)
      step.normed.emplace(step.conv, make_module<nn::BatchNorm>(std::to_string(index + 1), out));
    steps.push_back(std::move(step));
  }

  std::array<std::vector<Step>, 5> stages_;
};

void initialize(nn::Module& network) {
  for (const auto& [name, module] : network.named_modules()) {
    if (auto* conv = dynamic_cast<nn::Conv2d*>(module)) {
      nn::init::kaiming_normal_(conv->weight.detach(), nn::init::Fan::out);
      nn::init::constant_(conv->bias.detach(), 0);
    } else if (auto* linear = dynamic_cast<nn::Linear*>(module)) {
      nn::init::normal_(linear->weight.detach(), 0, 0.01);
      nn::init::constant_(linear->bias.detach(), 0);
    }
  }
}

}  // namespace

VggConfig vgg_config(int depth) {
  switch (depth) {
    case 11:
      return {.depths = {1, 1, 2, 2, 2}};
    case 13:
      return {.depths = {2, 2, 2, 2, 2}};
    case 16:
      return {.depths = {2, 2, 3, 3, 3}};
    case 19:
      return {.depths = {2, 2, 4, 4, 4}};
    default:
      throw ValueError(cat("VGG depth must be 11, 13, 16 or 19, got ", depth));
  }
}

Vgg::Vgg(const VggConfig& config) {
  TESSERA_CHECK(ValueError, *std::min_element(config.depths.begin(), config.depths.end()) > 0,
                "VGG: every stage needs a convolution");
  TESSERA_CHECK(ValueError, config.num_classes > 0 && config.hidden > 0,
                "VGG: num_classes and hidden must be positive, got ", config.num_classes, " and ",
                config.hidden);
  {
    const nn::init::Skip drawn_below;
    features_ = make_module<Features>("features", config);
    classifier_ = make_module<nn::Sequential>("classifier");
    const auto add_hidden = [&](int64_t in) {
      classifier_->push_back(std::make_shared<nn::Linear>(in, config.hidden));
      classifier_->push_back(std::make_shared<nn::Lambda>(relu));
      classifier_->push_back(std::make_shared<nn::Dropout>(config.dropout));
    };
    add_hidden(kChannels.back() * kMap * kMap);
    add_hidden(config.hidden);
    classifier_->push_back(std::make_shared<nn::Linear>(config.hidden, config.num_classes));
  }
  initialize(*this);
}

Tensor Vgg::forward(const Tensor& x) {
  const Tensor map = adaptive_avg_pool2d(features(x), kMap);  // (N, 7, 7, 512)
  // Channel-major, as published weights expect it.
  return classifier_->forward(flatten(permute(map, {0, 3, 1, 2}), 1));
}

}  // namespace tessera::models

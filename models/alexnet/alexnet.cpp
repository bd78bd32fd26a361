#include "models/alexnet/alexnet.h"

#include "nn/layers/conv.h"
#include "nn/layers/dropout.h"
#include "nn/layers/linear.h"
#include "ops/index/view.h"
#include "ops/pointwise/relu.h"
#include "ops/pool/adaptive_pool.h"
#include "ops/pool/max_pool.h"

namespace tessera::models {
namespace {

constexpr int64_t kMap = 6;  // height and width of what the classifier sees

// Names count the ReLUs too, which are part of the convolutions here.
void build_features(nn::Sequential& list) {
  const auto conv = [&](const char* name, int64_t in, int64_t out, int64_t kernel, int64_t padding,
                        int64_t stride = 1) {
    list.emplace<nn::Conv2d>(
        name, in, out, kernel,
        nn::Conv2d::Options{.stride = stride, .padding = padding, .activation = Activation::relu});
  };
  const auto pool = [&](const char* name) {
    list.emplace<nn::Lambda>(
        name, [](const Tensor& x) { return max_pool2d(x, {.kernel = 3, .stride = 2}); });
  };
  conv("0", 3, 64, 11, 2, 4);
  pool("2");
  conv("3", 64, 192, 5, 2);
  pool("5");
  conv("6", 192, 384, 3, 1);
  conv("8", 384, 256, 3, 1);
  conv("10", 256, 256, 3, 1);
  pool("12");
}

}  // namespace

AlexNet::AlexNet(const AlexNetConfig& config) {
  TESSERA_CHECK(ValueError, config.num_classes > 0 && config.hidden > 0,
                "AlexNet: num_classes and hidden must be positive, got ", config.num_classes,
                " and ", config.hidden);
  features_ = make_module<nn::Sequential>("features");
  build_features(*features_);
  classifier_ = make_module<nn::Sequential>("classifier");
  const auto add_hidden = [&](int64_t in) {
    classifier_->push_back(std::make_shared<nn::Dropout>(config.dropout));
    classifier_->push_back(std::make_shared<nn::Linear>(in, config.hidden));
    classifier_->push_back(std::make_shared<nn::Lambda>(relu));
  };
  add_hidden(256 * kMap * kMap);
  add_hidden(config.hidden);
  classifier_->push_back(std::make_shared<nn::Linear>(config.hidden, config.num_classes));
}

Tensor AlexNet::forward(const Tensor& x) {
  const Tensor map = adaptive_avg_pool2d(features(x), kMap);  // (N, 6, 6, 256)
  // Channel-major, as published weights expect it.
  return classifier_->forward(flatten(permute(map, {0, 3, 1, 2}), 1));
}

}  // namespace tessera::models

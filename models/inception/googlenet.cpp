#include "models/inception/googlenet.h"

#include "models/inception/blocks.h"
#include "nn/init.h"
#include "ops/index/concat.h"
#include "ops/index/view.h"
#include "ops/pointwise/relu.h"
#include "ops/pool/adaptive_pool.h"

namespace tessera::models {
namespace {

// Channels of a block's four branches; `reduce` is the 1x1 convolution before a 3x3.
struct Widths {
  int64_t b1, b2_reduce, b2, b3_reduce, b3, b4;
  int64_t total() const { return b1 + b2 + b3 + b4; }
};

class Inception final : public nn::Module {
 public:
  Inception(int64_t in, const Widths& w) {
    make_module<ConvBlock>("branch1", in, w.b1, 1);
    const auto branch2 = make_module<nn::Sequential>("branch2");
    branch2->emplace<ConvBlock>("0", in, w.b2_reduce, 1);
    branch2->emplace<ConvBlock>("1", w.b2_reduce, w.b2, 3, 1, 1);
    const auto branch3 = make_module<nn::Sequential>("branch3");
    branch3->emplace<ConvBlock>("0", in, w.b3_reduce, 1);
    branch3->emplace<ConvBlock>("1", w.b3_reduce, w.b3, 3, 1, 1);
    const auto branch4 = make_module<nn::Sequential>("branch4");
    branch4->push_back("0", max_pool({.kernel = 3, .stride = 1, .padding = 1}));
    branch4->emplace<ConvBlock>("1", in, w.b4, 1);
  }
  Tensor forward(const Tensor& x) override {
    Tensors parts;
    for (const auto& [name, branch] : children()) parts.push_back(branch->forward(x));
    return concat(parts, 3);
  }
};

// Classifier on 4 x 4 averages of a feature map.
class AuxHead final : public nn::Module {
 public:
  AuxHead(int64_t in, const GoogLeNetConfig& config)
      : conv_(make_module<ConvBlock>("conv", in, 128, 1)),
        fc1_(make_module<nn::Linear>("fc1", 2048, 1024)),
        fc2_(make_module<nn::Linear>("fc2", 1024, config.num_classes)),
        dropout_(make_module<nn::Dropout>("dropout", config.aux_dropout)) {}
  Tensor forward(const Tensor& x) override {
    const Tensor y = conv_->forward(adaptive_avg_pool2d(x, 4));  // (N, 4, 4, 128)
    return fc2_->forward(dropout_->forward(relu(fc1_->forward(nn::Flatten().forward(y)))));
  }

 private:
  std::shared_ptr<ConvBlock> conv_;
  std::shared_ptr<nn::Linear> fc1_, fc2_;
  std::shared_ptr<nn::Dropout> dropout_;
};

}  // namespace

GoogLeNet::GoogLeNet(const GoogLeNetConfig& config) : config_(config) {
  TESSERA_CHECK(ValueError, config.num_classes >= 0,
                "GoogLeNet: num_classes must not be negative, got ", config.num_classes);
  build();
  init_trunc_normal(*this, 0.01);
}

void GoogLeNet::build() {
  const nn::init::Skip drawn_afterwards;
  const auto add = [this](nn::Sequential& part, const std::string& name, nn::ModulePtr module) {
    part.push_back(name, add_module(name, std::move(module)));
  };
  int64_t channels = 192;
  const auto add_block = [&](nn::Sequential& part, const std::string& number, const Widths& w) {
    add(part, "inception" + number, std::make_shared<Inception>(channels, w));
    channels = w.total();
  };
  const auto halve = [](int64_t kernel) {
    return max_pool({.kernel = kernel, .stride = 2, .ceil_mode = true});
  };
  const bool aux = config_.aux_logits && config_.num_classes > 0;
  add(to_4a_, "conv1", std::make_shared<ConvBlock>(3, 64, 7, 2, 3));
  add(to_4a_, "maxpool1", halve(3));
  add(to_4a_, "conv2", std::make_shared<ConvBlock>(64, 64, 1));
  add(to_4a_, "conv3", std::make_shared<ConvBlock>(64, 192, 3, 1, 1));
  add(to_4a_, "maxpool2", halve(3));
  add_block(to_4a_, "3a", {64, 96, 128, 16, 32, 32});
  add_block(to_4a_, "3b", {128, 128, 192, 32, 96, 64});
  add(to_4a_, "maxpool3", halve(3));
  add_block(to_4a_, "4a", {192, 96, 208, 16, 48, 64});
  add_block(to_4d_, "4b", {160, 112, 224, 24, 64, 64});
  add_block(to_4d_, "4c", {128, 128, 256, 24, 64, 64});
  add_block(to_4d_, "4d", {112, 144, 288, 32, 64, 64});
  add_block(to_5b_, "4e", {256, 160, 320, 32, 128, 128});
  add(to_5b_, "maxpool4", halve(2));
  add_block(to_5b_, "5a", {256, 160, 320, 32, 128, 128});
  add_block(to_5b_, "5b", {384, 192, 384, 48, 128, 128});
  if (aux) {
    aux1_ = make_module<AuxHead>("aux1", 512, config_);
    aux2_ = make_module<AuxHead>("aux2", 528, config_);
  }
  dropout_ = make_module<nn::Dropout>("dropout", config_.dropout);
  if (config_.num_classes > 0) fc_ = make_module<nn::Linear>("fc", channels, config_.num_classes);
}

Tensor GoogLeNet::prepare(const Tensor& x) const {
  check_images(x, "GoogLeNet", 15);
  return config_.transform_input ? imagenet_to_symmetric(x) : x;
}

Tensor GoogLeNet::features(const Tensor& x) {
  return to_5b_.forward(to_4d_.forward(to_4a_.forward(prepare(x))));
}

Tensor GoogLeNet::classify(const Tensor& features) {
  const Tensor pooled = flatten(global_avg_pool2d(features), 1);  // (N, 1024)
  return fc_ ? fc_->forward(dropout_->forward(pooled)) : pooled;
}

Tensor GoogLeNet::forward(const Tensor& x) { return classify(features(x)); }

GoogLeNetOutput GoogLeNet::forward_with_aux(const Tensor& x) {
  TESSERA_CHECK(Error, aux1_ != nullptr, "GoogLeNet: has no auxiliary classifiers");
  const Tensor after_4a = to_4a_.forward(prepare(x));
  const Tensor after_4d = to_4d_.forward(after_4a);
  return {classify(to_5b_.forward(after_4d)), aux1_->forward(after_4a), aux2_->forward(after_4d)};
}

}  // namespace tessera::models

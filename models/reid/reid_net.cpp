#include "models/reid/reid_net.h"

#include "autograd/node.h"
#include "nn/init.h"
#include "ops/index/flip.h"
#include "ops/index/view.h"
#include "ops/norm/l2_normalize.h"
#include "ops/pointwise/arithmetic.h"

namespace tessera::models {
namespace {

ResNetConfig backbone_config(const ReidConfig& config) {
  for (int depth : {18, 34, 50, 101, 152}) {
    if (config.backbone != cat("resnet", depth)) continue;
    ResNetConfig c = resnet_config(depth);
    c.num_classes = 0;
    c.last_stride = config.last_stride;
    return c;
  }
  throw ValueError(
      cat("re-ID backbone must be resnet18, resnet34, resnet50, resnet101 or "
          "resnet152, got '",
          config.backbone, "'"));
}

// A linear layer that the head draws.
std::shared_ptr<nn::Linear> add_linear(nn::Sequential& block, int64_t in, int64_t out) {
  const nn::init::Skip drawn_by_the_caller;
  return block.emplace<nn::Linear>(std::to_string(block.size()), in, out);
}

}  // namespace

ReidHead::ReidHead(int64_t in, const ReidConfig& config) {
  auto block = make_module<nn::Sequential>("add_block");
  int64_t width = in;
  if (config.bottleneck > 0) {
    width = config.bottleneck;
    reduce_ = add_linear(*block, in, width);
    nn::init::kaiming_normal_(reduce_->weight.detach(), nn::init::Fan::out);
    nn::init::constant_(reduce_->bias.detach(), 0);
  }
  norm_ = block->emplace<nn::BatchNorm>(std::to_string(block->size()), width);
  nn::init::normal_(norm_->weight.detach(), 1, 0.02);
  if (config.dropout > 0)
    dropout_ = block->emplace<nn::Dropout>(std::to_string(block->size()), config.dropout);
  auto last = make_module<nn::Sequential>("classifier");
  classifier_ = add_linear(*last, width, config.num_classes);
  nn::init::normal_(classifier_->weight.detach(), 0, 1e-4);
  nn::init::constant_(classifier_->bias.detach(), 0);
}

ReidOutput ReidHead::run(const Tensor& pooled) {
  Tensor f = reduce_ ? reduce_->forward(pooled) : pooled;
  f = norm_->forward(f);
  if (dropout_) f = dropout_->forward(f);
  return {classifier_->forward(f), f};
}

ReidNet::ReidNet(const ReidConfig& config) : config_(config) {
  TESSERA_CHECK(ValueError, config.num_classes > 0, "ReidNet: num_classes must be positive, got ",
                config.num_classes);
  model_ = make_module<ResNet>("model", backbone_config(config));
  classifier_ = make_module<ReidHead>("classifier", model_->feature_channels(), config);
}

ReidOutput ReidNet::run(const Tensor& images) { return classifier_->run(model_->forward(images)); }

Tensor ReidNet::embed(const Tensor& images) {
  TESSERA_CHECK(Error, !training(), "ReidNet::embed: the network is in training mode, call eval()");
  NoGradGuard no_grad;
  const Tensor both = run(images).feature + run(flip(images, {2})).feature;
  return l2_normalize(both, 1);
}

}  // namespace tessera::models

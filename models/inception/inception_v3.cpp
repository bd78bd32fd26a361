#include "models/inception/inception_v3.h"

#include "models/inception/blocks.h"
#include "nn/init.h"
#include "ops/index/concat.h"
#include "ops/index/view.h"
#include "ops/pool/adaptive_pool.h"
#include "ops/pool/avg_pool.h"
#include "ops/pool/max_pool.h"

namespace tessera::models {
namespace {

constexpr Size2 k1x7{1, 7}, k7x1{7, 1}, k1x3{1, 3}, k3x1{3, 1};

// Inside the blocks a convolution keeps the size (stride 1) or has no padding (stride 2).
struct Conv {
  const char* name;
  int64_t out;
  Size2 kernel;
  int64_t stride = 1;
};

enum class Pool { none, average, maximum };

// One path through a block: an optional 3x3 pool (average stride 1, maximum stride 2), convolutions
// one after another, and convolutions that all read the last one's result.
struct Branch {
  Pool pool = Pool::none;
  std::vector<Conv> chain{};
  std::vector<Conv> fork{};
};

// The blocks are named by the first of their kind.
std::vector<Branch> mixed_5b(int64_t pooled) {
  return {
      {.chain = {{"branch1x1", 64, 1}}},
      {.chain = {{"branch5x5_1", 48, 1}, {"branch5x5_2", 64, 5}}},
      {.chain = {{"branch3x3dbl_1", 64, 1}, {"branch3x3dbl_2", 96, 3}, {"branch3x3dbl_3", 96, 3}}},
      {.pool = Pool::average, .chain = {{"branch_pool", pooled, 1}}}};
}

std::vector<Branch> mixed_6a() {
  return {{.chain = {{"branch3x3", 384, 3, 2}}},
          {.chain = {{"branch3x3dbl_1", 64, 1},
                     {"branch3x3dbl_2", 96, 3},
                     {"branch3x3dbl_3", 96, 3, 2}}},
          {.pool = Pool::maximum}};
}

std::vector<Branch> mixed_6b(int64_t width) {
  return {{.chain = {{"branch1x1", 192, 1}}},
          {.chain = {{"branch7x7_1", width, 1},
                     {"branch7x7_2", width, k1x7},
                     {"branch7x7_3", 192, k7x1}}},
          {.chain = {{"branch7x7dbl_1", width, 1},
                     {"branch7x7dbl_2", width, k7x1},
                     {"branch7x7dbl_3", width, k1x7},
                     {"branch7x7dbl_4", width, k7x1},
                     {"branch7x7dbl_5", 192, k1x7}}},
          {.pool = Pool::average, .chain = {{"branch_pool", 192, 1}}}};
}

std::vector<Branch> mixed_7a() {
  return {{.chain = {{"branch3x3_1", 192, 1}, {"branch3x3_2", 320, 3, 2}}},
          {.chain = {{"branch7x7x3_1", 192, 1},
                     {"branch7x7x3_2", 192, k1x7},
                     {"branch7x7x3_3", 192, k7x1},
                     {"branch7x7x3_4", 192, 3, 2}}},
          {.pool = Pool::maximum}};
}

std::vector<Branch> mixed_7b() {
  return {{.chain = {{"branch1x1", 320, 1}}},
          {.chain = {{"branch3x3_1", 384, 1}},
           .fork = {{"branch3x3_2a", 384, k1x3}, {"branch3x3_2b", 384, k3x1}}},
          {.chain = {{"branch3x3dbl_1", 448, 1}, {"branch3x3dbl_2", 384, 3}},
           .fork = {{"branch3x3dbl_3a", 384, k1x3}, {"branch3x3dbl_3b", 384, k3x1}}},
          {.pool = Pool::average, .chain = {{"branch_pool", 192, 1}}}};
}

// Branches side by side, their results joined along the channels.
class Mixed final : public nn::Module {
 public:
  Mixed(int64_t in, const std::vector<Branch>& branches) {
    for (const Branch& branch : branches) {
      Path path{branch.pool, {}, {}};
      int64_t channels = in;
      for (const Conv& c : branch.chain) {
        path.chain.push_back(make(channels, c));
        channels = c.out;
      }
      if (branch.fork.empty()) out_ += channels;
      for (const Conv& c : branch.fork) {
        path.fork.push_back(make(channels, c));
        out_ += c.out;
      }
      paths_.push_back(std::move(path));
    }
  }

  Tensor forward(const Tensor& x) override {
    Tensors parts;
    for (const Path& path : paths_) {
      Tensor y = x;
      if (path.pool == Pool::average)
        y = avg_pool2d(x, {.kernel = 3, .stride = 1, .padding = 1, .count_include_pad = true});
      if (path.pool == Pool::maximum) y = max_pool2d(x, {.kernel = 3, .stride = 2});
      for (const auto& conv : path.chain) y = conv->forward(y);
      if (path.fork.empty()) parts.push_back(y);
      for (const auto& conv : path.fork) parts.push_back(conv->forward(y));
    }
    return concat(parts, 3);
  }
  int64_t out_channels() const { return out_; }

 private:
  struct Path {
    Pool pool;
    std::vector<std::shared_ptr<ConvBlock>> chain, fork;
  };
  std::shared_ptr<ConvBlock> make(int64_t in, const Conv& c) {
    const Size2 same{c.kernel.h / 2, c.kernel.w / 2};
    return make_module<ConvBlock>(c.name, in, c.out, c.kernel, c.stride,
                                  c.stride == 1 ? same : Size2(0));
  }

  std::vector<Path> paths_;
  int64_t out_ = 0;
};

class AuxHead final : public nn::Module {
 public:
  AuxHead(int64_t in, int64_t num_classes)
      : conv0_(make_module<ConvBlock>("conv0", in, 128, 1)),
        conv1_(make_module<ConvBlock>("conv1", 128, 768, 5)),
        fc_(make_module<nn::Linear>("fc", 768, num_classes)) {}
  Tensor forward(const Tensor& x) override {
    Tensor y = avg_pool2d(x, {.kernel = 5, .stride = 3});
    y = conv1_->forward(conv0_->forward(y));
    return fc_->forward(flatten(global_avg_pool2d(y), 1));
  }
  nn::Linear& fc() { return *fc_; }

 private:
  std::shared_ptr<ConvBlock> conv0_, conv1_;
  std::shared_ptr<nn::Linear> fc_;
};

}  // namespace

InceptionV3::InceptionV3(const InceptionV3Config& config) : config_(config) {
  TESSERA_CHECK(ValueError, config.num_classes >= 0,
                "InceptionV3: num_classes must not be negative, got ", config.num_classes);
  build();
  init_trunc_normal(*this, 0.1);
  if (auto* aux = dynamic_cast<AuxHead*>(aux_.get()))
    nn::init::trunc_normal_(aux->fc().weight.detach(), 0, 0.001, -2, 2);
}

void InceptionV3::build() {
  const nn::init::Skip drawn_afterwards;
  const auto add = [this](nn::Sequential& part, const std::string& name, nn::ModulePtr module) {
    part.push_back(name, add_module(name, std::move(module)));
  };
  int64_t channels = 192;
  const auto add_mixed = [&](nn::Sequential& part, const std::string& number,
                             const std::vector<Branch>& branches) {
    const auto block = std::make_shared<Mixed>(channels, branches);
    add(part, "Mixed_" + number, block);
    channels = block->out_channels();
  };
  add(to_6e_, "Conv2d_1a_3x3", std::make_shared<ConvBlock>(3, 32, 3, 2));
  add(to_6e_, "Conv2d_2a_3x3", std::make_shared<ConvBlock>(32, 32, 3));
  add(to_6e_, "Conv2d_2b_3x3", std::make_shared<ConvBlock>(32, 64, 3, 1, 1));
  add(to_6e_, "maxpool1", max_pool({.kernel = 3, .stride = 2}));
  add(to_6e_, "Conv2d_3b_1x1", std::make_shared<ConvBlock>(64, 80, 1));
  add(to_6e_, "Conv2d_4a_3x3", std::make_shared<ConvBlock>(80, 192, 3));
  add(to_6e_, "maxpool2", max_pool({.kernel = 3, .stride = 2}));
  add_mixed(to_6e_, "5b", mixed_5b(32));
  add_mixed(to_6e_, "5c", mixed_5b(64));
  add_mixed(to_6e_, "5d", mixed_5b(64));
  add_mixed(to_6e_, "6a", mixed_6a());
  add_mixed(to_6e_, "6b", mixed_6b(128));
  add_mixed(to_6e_, "6c", mixed_6b(160));
  add_mixed(to_6e_, "6d", mixed_6b(160));
  add_mixed(to_6e_, "6e", mixed_6b(192));
  if (config_.aux_logits && config_.num_classes > 0)
    aux_ = make_module<AuxHead>("AuxLogits", channels, config_.num_classes);
  add_mixed(to_7c_, "7a", mixed_7a());
  add_mixed(to_7c_, "7b", mixed_7b());
  add_mixed(to_7c_, "7c", mixed_7b());
  dropout_ = make_module<nn::Dropout>("dropout", config_.dropout);
  if (config_.num_classes > 0) fc_ = make_module<nn::Linear>("fc", channels, config_.num_classes);
}

Tensor InceptionV3::prepare(const Tensor& x, int64_t smallest) const {
  check_images(x, "InceptionV3", smallest);
  return config_.transform_input ? imagenet_to_symmetric(x) : x;
}

Tensor InceptionV3::features(const Tensor& x) {
  return to_7c_.forward(to_6e_.forward(prepare(x, 75)));
}

Tensor InceptionV3::classify(const Tensor& features) {
  const Tensor pooled = flatten(global_avg_pool2d(features), 1);  // (N, 2048)
  return fc_ ? fc_->forward(dropout_->forward(pooled)) : pooled;
}

Tensor InceptionV3::forward(const Tensor& x) { return classify(features(x)); }

InceptionV3Output InceptionV3::forward_with_aux(const Tensor& x) {
  TESSERA_CHECK(Error, aux_ != nullptr, "InceptionV3: has no auxiliary classifier");
  const Tensor after_6e = to_6e_.forward(prepare(x, 299));
  return {classify(to_7c_.forward(after_6e)), aux_->forward(after_6e)};
}

}  // namespace tessera::models

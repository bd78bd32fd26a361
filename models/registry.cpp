#include "models/registry.h"

#include <algorithm>

#include "autograd/node.h"
#include "models/densenet/densenet.h"
#include "models/inception/googlenet.h"
#include "models/inception/inception_v3.h"
#include "models/resnet/resnet.h"
#include "nn/mac_counter.h"

namespace tessera::models {
namespace {

ModelInfo resnet(std::string name, ResNetConfig config, std::string source) {
  return {std::move(name), 224, std::move(source), [config](const CreateOptions& options) {
            ResNetConfig c = config;
            c.num_classes = options.num_classes;
            return std::make_shared<ResNet>(c);
          }};
}

ModelInfo densenet(int depth) {
  return {"densenet" + std::to_string(depth), 224, "Huang et al., arXiv 1608.06993",
          [depth](const CreateOptions& options) {
            DenseNetConfig c = densenet_config(depth);
            c.num_classes = options.num_classes;
            return std::make_shared<DenseNet>(c);
          }};
}

ModelInfo googlenet() {
  return {"googlenet", 224, "Szegedy et al., arXiv 1409.4842", [](const CreateOptions& options) {
            return std::make_shared<GoogLeNet>(GoogLeNetConfig{.num_classes = options.num_classes});
          }};
}

ModelInfo inception_v3() {
  return {
      "inception_v3", 299, "Szegedy et al., arXiv 1512.00567", [](const CreateOptions& options) {
        return std::make_shared<InceptionV3>(InceptionV3Config{.num_classes = options.num_classes});
      }};
}

std::vector<ModelInfo> build() {
  const std::string he = "He et al., arXiv 1512.03385";
  const auto with = [](int depth, int64_t groups, int64_t width) {
    ResNetConfig c = resnet_config(depth);
    c.groups = groups;
    c.width_per_group = width;
    return c;
  };
  const std::string xie = "Xie et al., arXiv 1611.05431";
  const std::string wide = "Zagoruyko and Komodakis, arXiv 1605.07146";
  std::vector<ModelInfo> list{
      densenet(121),
      densenet(161),
      densenet(169),
      densenet(201),
      googlenet(),
      inception_v3(),
      resnet("resnet18", resnet_config(18), he),
      resnet("resnet34", resnet_config(34), he),
      resnet("resnet50", resnet_config(50), he),
      resnet("resnet101", resnet_config(101), he),
      resnet("resnet152", resnet_config(152), he),
      resnet("resnext50_32x4d", with(50, 32, 4), xie),
      resnet("resnext101_32x8d", with(101, 32, 8), xie),
      resnet("resnext101_64x4d", with(101, 64, 4), xie),
      resnet("wide_resnet50_2", with(50, 1, 128), wide),
      resnet("wide_resnet101_2", with(101, 1, 128), wide),
  };
  std::sort(list.begin(), list.end(),
            [](const ModelInfo& a, const ModelInfo& b) { return a.name < b.name; });
  return list;
}

}  // namespace

const std::vector<ModelInfo>& registry() {
  static const std::vector<ModelInfo> list = build();
  return list;
}

const ModelInfo& find_model(const std::string& name) {
  std::string names;
  for (const ModelInfo& info : registry()) {
    if (info.name == name) return info;
    names += (names.empty() ? "" : ", ") + info.name;
  }
  throw ValueError(cat("no network is called '", name, "' (there are: ", names, ")"));
}

int64_t count_macs(nn::Module& network, const Shape& shape) {
  NoGradGuard no_grad;
  const bool training = network.training();
  network.eval();
  nn::MacCounter counter;
  network.forward(zeros(shape, DType::f32));
  network.train(training);
  return counter.macs();
}

std::shared_ptr<nn::Module> create(const std::string& name, const CreateOptions& options) {
  return find_model(name).create(options);
}

}  // namespace tessera::models

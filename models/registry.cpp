#include "models/registry.h"

#include <algorithm>

#include "autograd/node.h"
#include "models/alexnet/alexnet.h"
#include "models/densenet/densenet.h"
#include "models/inception/googlenet.h"
#include "models/inception/inception_v3.h"
#include "models/mobilenet/mobilenet_v2.h"
#include "models/resnet/resnet.h"
#include "models/squeezenet/squeezenet.h"
#include "models/vgg/vgg.h"
#include "nn/mac_counter.h"

namespace tessera::models {
namespace {

// A network whose configuration has num_classes.
template <class Network, class Config>
ModelInfo classifier(std::string name, Config config, std::string source, int64_t size = 224) {
  return {std::move(name), size, std::move(source), [config](const CreateOptions& options) {
            Config c = config;
            c.num_classes = options.num_classes;
            if constexpr (requires { c.transform_input; })
              c.transform_input = options.transform_input;
            return std::make_shared<Network>(c);
          }};
}

ModelInfo resnet(std::string name, ResNetConfig config, std::string source) {
  return classifier<ResNet>(std::move(name), config, std::move(source));
}

ModelInfo vgg(int depth, bool batch_norm) {
  VggConfig c = vgg_config(depth);
  c.batch_norm = batch_norm;
  return classifier<Vgg>(cat("vgg", depth, batch_norm ? "_bn" : ""), c,
                         "Simonyan and Zisserman, arXiv 1409.1556");
}

ModelInfo squeezenet(const char* version) {
  return classifier<SqueezeNet>(cat("squeezenet", version), squeezenet_config(version),
                                "Iandola et al., arXiv 1602.07360");
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
      classifier<AlexNet>("alexnet", AlexNetConfig{}, "Krizhevsky, arXiv 1404.5997"),
      classifier<MobileNetV2>("mobilenet_v2", MobileNetV2Config{},
                              "Sandler et al., arXiv 1801.04381"),
      classifier<GoogLeNet>("googlenet", GoogLeNetConfig{}, "Szegedy et al., arXiv 1409.4842"),
      classifier<InceptionV3>("inception_v3", InceptionV3Config{},
                              "Szegedy et al., arXiv 1512.00567", 299),
      squeezenet("1_0"),
      squeezenet("1_1"),
  };
  for (const int depth : {121, 161, 169, 201})
    list.push_back(classifier<DenseNet>(cat("densenet", depth), densenet_config(depth),
                                        "Huang et al., arXiv 1608.06993"));
  for (const int depth : {11, 13, 16, 19})
    for (const bool batch_norm : {false, true}) list.push_back(vgg(depth, batch_norm));
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
  TESSERA_CHECK(ShapeError, shape.rank() > 0, "count_macs: the input needs a batch axis");
  Shape none = shape;
  none[0] = 0;
  network.forward(empty(none));
  network.train(training);
  return shape[0] * counter.macs();
}

std::shared_ptr<nn::Module> create(const std::string& name, const CreateOptions& options) {
  return find_model(name).create(options);
}

}  // namespace tessera::models

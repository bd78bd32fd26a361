#include "apps/reid/options.h"

namespace tessera::apps {

using nlohmann::json;

json to_json(const ReidModelOptions& o) {
  return {{"backbone", o.net.backbone},
          {"num_classes", o.net.num_classes},
          {"bottleneck", o.net.bottleneck},
          {"dropout", o.net.dropout},
          {"last_stride", o.net.last_stride},
          {"height", o.height},
          {"width", o.width}};
}

ReidModelOptions reid_model_from_json(const json& j) {
  ReidModelOptions o;
  try {
    o.net.backbone = j.at("backbone").get<std::string>();
    o.net.num_classes = j.at("num_classes").get<int64_t>();
    o.net.bottleneck = j.at("bottleneck").get<int64_t>();
    o.net.dropout = j.at("dropout").get<double>();
    o.net.last_stride = j.at("last_stride").get<int64_t>();
    o.height = j.at("height").get<int64_t>();
    o.width = j.at("width").get<int64_t>();
  } catch (const json::exception& e) {
    throw ValueError(cat("the stored network description is incomplete: ", e.what()));
  }
  const auto within = [](const char* name, double value, double low, double high) {
    TESSERA_CHECK(ValueError, value >= low && value <= high, "the stored network description has ",
                  name, " ", value, ", expected ", low, " to ", high);
  };
  within("num_classes", static_cast<double>(o.net.num_classes), 1, 1e9);
  within("bottleneck", static_cast<double>(o.net.bottleneck), 0, 65536);
  within("dropout", o.net.dropout, 0, 1);
  within("last_stride", static_cast<double>(o.net.last_stride), 1, 2);
  within("height", static_cast<double>(o.height), 1, kMaxImageSide);
  within("width", static_cast<double>(o.width), 1, kMaxImageSide);
  return o;
}

json to_json(const ReidTrainOptions& o) {
  return {{"model", to_json(o.model)},
          {"epochs", o.epochs},
          {"batch", o.batch},
          {"lr", o.lr},
          {"backbone_lr_scale", o.backbone_lr_scale},
          {"weight_decay", o.weight_decay},
          {"momentum", o.momentum},
          {"cosine", o.cosine},
          {"warm_epochs", o.warm_epochs},
          {"erasing_p", o.erasing_p},
          {"pad", o.pad},
          {"flip", o.flip},
          {"color_jitter", o.color_jitter},
          {"label_smoothing", o.label_smoothing},
          {"seed", o.seed}};
}

}  // namespace tessera::apps

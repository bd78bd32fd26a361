#include "apps/reid/weights.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "io/safetensors.h"
#include "nn/init.h"
#include "nn/io/weights.h"

namespace tessera::apps {
namespace {

using nlohmann::json;

constexpr const char* kModelKey = "tessera.reid";

ReidModelOptions described_model(const std::filesystem::path& path, const std::string& text) {
  try {
    return reid_model_from_json(json::parse(text, nullptr, false));
  } catch (const ValueError& e) {
    throw ValueError(cat(path.string(), ": ", e.what()));
  }
}

}  // namespace

void save_reid_weights(const std::filesystem::path& path, models::ReidNet& net,
                       const ReidModelOptions& model) {
  nn::io::save_weights(net, path, {{kModelKey, to_json(model).dump()}});
}

std::shared_ptr<models::ReidNet> load_reid_weights(const std::filesystem::path& path,
                                                   const ReidModelOptions& fallback,
                                                   ReidModelOptions& model) {
  const io::SafetensorsFile file(path);
  std::optional<Shape> classifier;
  for (const io::SafetensorsFile::Entry& e : file.entries())
    if (e.name == "classifier.classifier.0.weight") classifier = e.shape;
  TESSERA_CHECK(ValueError, !classifier || classifier->rank() == 2, path.string(),
                ": the classifier weight has shape ", *classifier,
                ", expected (classes, features)");
  model = fallback;
  if (const auto found = file.metadata().find(kModelKey); found != file.metadata().end()) {
    model = described_model(path, found->second);
    // Before anything is built: a false number may ask for any amount of memory.
    TESSERA_CHECK(ValueError, classifier && (*classifier)[0] == model.net.num_classes,
                  path.string(), ": the stored network description has num_classes ",
                  model.net.num_classes, ", which is not the classifier's number of rows");
  } else if (classifier) {
    model.net.num_classes = (*classifier)[0];
  }
  const nn::init::Skip loaded_below;
  auto net = std::make_shared<models::ReidNet>(model.net);
  nn::io::load_weights(*net, path);
  return net;
}

}  // namespace tessera::apps

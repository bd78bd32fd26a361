#include "tests/golden/model_run.h"

#include <algorithm>
#include <array>
#include <functional>
#include <map>

#include "models/inception/googlenet.h"
#include "models/inception/inception_v3.h"
#include "models/registry.h"
#include "nn/layers/dropout.h"
#include "ops/loss/cross_entropy.h"
#include "ops/pointwise/arithmetic.h"
#include "tensor/view.h"
#include "tests/common/hash_fill.h"

namespace tessera::golden {
namespace {

using TrainingHook =
    std::function<TrainingOutput(nn::Module& net, const Tensor& x, const Tensor& target)>;

TrainingOutput plain_classifier(nn::Module& net, const Tensor& x, const Tensor& target) {
  const Tensor logits = net.forward(x);
  return {logits, cross_entropy(logits, target)};
}

TrainingOutput googlenet(nn::Module& net, const Tensor& x, const Tensor& target) {
  const auto out = dynamic_cast<models::GoogLeNet&>(net).forward_with_aux(x);
  const Tensor aux = cross_entropy(out.aux1, target) + cross_entropy(out.aux2, target);
  return {out.logits, cross_entropy(out.logits, target) + 0.3 * aux};
}

TrainingOutput inception_v3(nn::Module& net, const Tensor& x, const Tensor& target) {
  const auto out = dynamic_cast<models::InceptionV3&>(net).forward_with_aux(x);
  return {out.logits, cross_entropy(out.logits, target) + 0.4 * cross_entropy(out.aux, target)};
}

/// Networks whose training pass returns more than logits, by name; all others are plain.
const std::map<std::string, TrainingHook>& hooks() {
  static const std::map<std::string, TrainingHook> table{{"googlenet", googlenet},
                                                         {"inception_v3", inception_v3}};
  return table;
}

}  // namespace

std::string reason_to_skip(const std::string& model) {
  const auto& list = models::registry();
  const auto is_model = [&](const models::ModelInfo& info) { return info.name == model; };
  if (std::any_of(list.begin(), list.end(), is_model)) return {};
  constexpr std::array<std::string_view, 9> kFamilies{"mobilenet_v3", "efficientnet", "swin",
                                                      "convnext",     "vit",          "shufflenet",
                                                      "mnasnet",      "regnet",       "maxvit"};
  for (const std::string_view family : kFamilies)
    if (model.starts_with(family))
      return cat("network '", model, "': the family ", family, " is not part of Tessera yet");
  return {};
}

void fill_by_name(nn::Module& net, const std::string& salt) {
  nn::StateDict filled;
  for (const nn::StateEntry& entry : net.state_dict()) {
    const Shape shape = nn::to_published(entry.tensor, entry.layout).shape();
    const Tensor value =
        from_vector(testing::hash_parameter(salt + entry.name, shape.vector()), shape);
    const Tensor ours = nn::from_published(value, entry.layout);
    filled.push_back({entry.name, view::to(ours, entry.tensor.dtype()), entry.layout});
  }
  net.load_state_dict(filled);
}

void disable_dropout(nn::Module& net) {
  net.apply([](nn::Module& module) {
    if (auto* dropout = dynamic_cast<nn::Dropout*>(&module)) dropout->p = 0;
    if (auto* path = dynamic_cast<nn::DropPath*>(&module)) path->p = 0;
  });
}

TrainingOutput training_forward(const std::string& model, nn::Module& net, const Tensor& x,
                                const Tensor& target) {
  const auto hook = hooks().find(model);
  return hook != hooks().end() ? hook->second(net, x, target) : plain_classifier(net, x, target);
}

}  // namespace tessera::golden

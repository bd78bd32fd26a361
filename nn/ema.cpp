#include "nn/ema.h"

#include <algorithm>
#include <unordered_set>

#include "autograd/node.h"
#include "ops/pointwise/arithmetic.h"
#include "tensor/view.h"

namespace tessera::nn {

Ema::Ema(const Module& module, double decay, bool warmup)
    : live_(module.state_dict()), decay_(decay), warmup_(warmup) {
  TESSERA_CHECK(ValueError, decay >= 0 && decay < 1, "ema: decay must be in [0, 1), got ", decay);
  std::unordered_set<const TensorImpl*> parameters;
  for (const Tensor& p : module.parameters()) parameters.insert(p.impl_ptr().get());
  for (const StateEntry& e : live_) {
    average_.push_back({e.name, view::clone(e.tensor.detach()), e.layout});
    is_parameter_.push_back(parameters.contains(e.tensor.impl_ptr().get()));
  }
}

void Ema::update() {
  NoGradGuard no_grad;
  ++updates_;
  const auto t = static_cast<double>(updates_);
  const double decay = warmup_ ? std::min(decay_, (1 + t) / (10 + t)) : decay_;
  for (size_t i = 0; i < live_.size(); ++i) {
    if (is_parameter_[i])
      lerp_(average_[i].tensor, live_[i].tensor.detach(), 1 - decay);
    else
      copy_(average_[i].tensor, live_[i].tensor.detach());
  }
}

void Ema::load(const StateDict& state, int64_t updates) {
  TESSERA_CHECK(ValueError, state.size() == average_.size(), "ema: ", state.size(),
                " entries given, the module has ", average_.size());
  for (size_t i = 0; i < state.size(); ++i) {
    TESSERA_CHECK(
        ValueError,
        state[i].name == average_[i].name && state[i].tensor.shape() == average_[i].tensor.shape(),
        "ema: entry '", state[i].name, "' of shape ", state[i].tensor.shape(),
        " given where the module has '", average_[i].name, "' of ", average_[i].tensor.shape());
  }
  for (size_t i = 0; i < state.size(); ++i) copy_(average_[i].tensor, state[i].tensor);
  updates_ = updates;
}

void Ema::swap() {
  NoGradGuard no_grad;
  for (size_t i = 0; i < live_.size(); ++i) {
    const Tensor keep = view::clone(live_[i].tensor.detach());
    copy_(live_[i].tensor, average_[i].tensor);
    copy_(average_[i].tensor, keep);
  }
}

}  // namespace tessera::nn

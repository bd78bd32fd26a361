#include "nn/ema.h"

#include <algorithm>
#include <unordered_map>
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
  std::unordered_map<const TensorImpl*, Tensor> made;
  for (const StateEntry& e : live_) {
    const TensorImpl* live = e.tensor.impl_ptr().get();
    Tensor& average = made[live];
    kinds_.push_back(average.defined()           ? Kind::repeated
                     : parameters.contains(live) ? Kind::parameter
                                                 : Kind::buffer);
    if (!average.defined()) average = view::clone(e.tensor.detach());
    average_.push_back({e.name, average, e.layout});
  }
}

void Ema::update() {
  NoGradGuard no_grad;
  ++updates_;
  const auto t = static_cast<double>(updates_);
  const double decay = warmup_ ? std::min(decay_, (1 + t) / (10 + t)) : decay_;
  for (size_t i = 0; i < live_.size(); ++i) {
    if (kinds_[i] == Kind::parameter)
      lerp_(average_[i].tensor, live_[i].tensor.detach(), 1 - decay);
    else if (kinds_[i] == Kind::buffer)
      copy_(average_[i].tensor, live_[i].tensor.detach());
  }
}

void Ema::check_state(const StateDict& state) const {
  TESSERA_CHECK(ValueError, state.size() == average_.size(), "ema: ", state.size(),
                " entries given, the module has ", average_.size());
  for (size_t i = 0; i < state.size(); ++i) {
    TESSERA_CHECK(
        ValueError,
        state[i].name == average_[i].name &&
            state[i].tensor.shape() == average_[i].tensor.shape() &&
            is_floating(state[i].tensor.dtype()) == is_floating(average_[i].tensor.dtype()),
        "ema: entry '", state[i].name, "' ", state[i].tensor.dtype(), state[i].tensor.shape(),
        " given where the module has '", average_[i].name, "' ", average_[i].tensor.dtype(),
        average_[i].tensor.shape());
  }
}

void Ema::load(const StateDict& state, int64_t updates) {
  TESSERA_CHECK(ValueError, updates >= 0, "ema: ", updates, " updates");
  check_state(state);
  for (size_t i = 0; i < state.size(); ++i) copy_(average_[i].tensor, state[i].tensor);
  updates_ = updates;
}

void Ema::swap() {
  NoGradGuard no_grad;
  for (size_t i = 0; i < live_.size(); ++i) {
    if (kinds_[i] == Kind::repeated) continue;
    const Tensor keep = view::clone(live_[i].tensor.detach());
    copy_(live_[i].tensor, average_[i].tensor);
    copy_(average_[i].tensor, keep);
  }
}

}  // namespace tessera::nn

#include "autograd/ctx.h"

#include "tensor/view.h"

namespace tessera {

void Ctx::save(std::initializer_list<Tensor> tensors) { save(Tensors(tensors)); }

void Ctx::save(const Tensors& tensors) {
  if (!recording_) return;
  for (const Tensor& t : tensors) saved_.push_back({t, t.defined() ? t.version() : 0, -1});
}

Tensor Ctx::saved(int i) const {
  TESSERA_CHECK(Error, !released_, owner_->name(),
                ": the graph was already freed by an earlier backward(); use retain_graph");
  const Saved& s = saved_.at(static_cast<size_t>(i));
  if (!s.value.defined()) return s.value;
  TESSERA_CHECK(Error, s.value.version() == s.version, owner_->name(), ": a tensor of shape ",
                s.value.shape(), " saved for backward was changed in place (version ",
                s.value.version(), ", saved at ", s.version, ")");
  if (s.output < 0) return s.value;
  Tensor attached = view::alias(s.value);
  set_producer(attached, owner_->shared_from_this(), static_cast<uint32_t>(s.output));
  return attached;
}

void Ctx::begin(bool recording, std::vector<bool> needed) {
  recording_ = recording;
  needed_ = std::move(needed);
}

void Ctx::finish(Node* owner, const Tensors& outputs) {
  owner_ = owner;
  for (Saved& s : saved_) {
    for (size_t slot = 0; slot < outputs.size(); ++slot) {
      if (s.value.impl_ptr() != outputs[slot].impl_ptr()) continue;
      if (s.value.defined()) {
        s.value = view::alias(s.value);
        if (is_floating(s.value.dtype())) s.output = static_cast<int>(slot);
      }
      break;
    }
  }
}

void Ctx::release() {
  saved_.clear();
  released_ = true;
}

}  // namespace tessera

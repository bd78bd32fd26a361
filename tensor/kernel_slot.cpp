#include "tensor/kernel_slot.h"

#include <algorithm>
#include <cstring>

namespace tessera {
namespace {
constinit KernelSlotBase* list_head = nullptr;
}

bool KernelSlotBase::set_raw(DeviceType device, Raw fn) {
  table_[static_cast<size_t>(device)] = fn;
  if (!listed_) {
    next_ = list_head;
    list_head = this;
    listed_ = true;
  }
  return true;
}

std::vector<const KernelSlotBase*> KernelSlotBase::all() {
  std::vector<const KernelSlotBase*> out;
  for (const KernelSlotBase* slot = list_head; slot; slot = slot->next_) out.push_back(slot);
  std::sort(out.begin(), out.end(), [](const KernelSlotBase* a, const KernelSlotBase* b) {
    return std::strcmp(a->name(), b->name()) < 0;
  });
  return out;
}

void KernelSlotBase::throw_missing(Device device) const {
  const bool cpu = has(DeviceType::cpu), cuda = has(DeviceType::cuda);
  throw NotImplementedError(cat(name_, ": no ", device.is_cpu() ? "cpu" : "cuda",
                                " kernel (have: ", cpu ? "cpu" : "", cpu && cuda ? ", " : "",
                                cuda ? "cuda" : "", !cpu && !cuda ? "none" : "", ")"));
}

}  // namespace tessera

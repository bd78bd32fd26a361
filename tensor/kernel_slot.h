#pragma once

#include <array>
#include <string>
#include <vector>

#include "tensor/device.h"
#include "tensor/error.h"
#include "tensor/macros.h"

namespace tessera {

/// The untyped part of a kernel slot; slots that have a kernel form a list for tests and tables.
class KernelSlotBase {
 public:
  constexpr explicit KernelSlotBase(const char* name) : name_(name) {}
  const char* name() const { return name_; }
  bool has(DeviceType device) const { return table_[static_cast<size_t>(device)] != nullptr; }
  /// Every slot with at least one kernel, sorted by name.
  static std::vector<const KernelSlotBase*> all();

 protected:
  using Raw = void (*)();
  bool set_raw(DeviceType device, Raw fn);
  [[noreturn]] void throw_missing(Device device) const;

  const char* name_;
  std::array<Raw, kDeviceTypeCount> table_{};
  KernelSlotBase* next_ = nullptr;
  bool listed_ = false;
};

/// One function pointer per device beside an operator. Define it `constinit`, so that a kernel that
/// registers itself during static initialisation cannot come too early.
template <class Signature>
class KernelSlot;

template <class R, class... Args>
class KernelSlot<R(Args...)> : public KernelSlotBase {
 public:
  using Fn = R (*)(Args...);
  constexpr explicit KernelSlot(const char* name) : KernelSlotBase(name) {}
  bool set(DeviceType device, Fn fn) { return set_raw(device, reinterpret_cast<Raw>(fn)); }
  /// The kernel for `device`; NotImplementedError "softplus: no cuda kernel (have: cpu)" if none.
  Fn get(Device device) const {
    const Raw raw = table_[static_cast<size_t>(device.type)];
    if (!raw) [[unlikely]]
      throw_missing(device);
    return reinterpret_cast<Fn>(raw);
  }
};

}  // namespace tessera

/// Fills tessera::kernel::`slot` for `device` (cpu or cuda) with `fn` before main().
#define TESSERA_KERNEL(slot, device, fn)                                     \
  [[maybe_unused]] static const bool TESSERA_CAT(kernel_set_, __COUNTER__) = \
      ::tessera::kernel::slot.set(::tessera::DeviceType::device, fn)

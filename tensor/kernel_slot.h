#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "tensor/device.h"
#include "tensor/error.h"
#include "tensor/kernel_observer.h"
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
  using Flops = int64_t (*)(Args...);
  /// flops: floating-point operations of a call, from its arguments; for kernels bound by
  /// arithmetic.
  constexpr explicit KernelSlot(const char* name, Flops flops = nullptr)
      : KernelSlotBase(name), flops_(flops) {}
  bool set(DeviceType device, Fn fn) { return set_raw(device, reinterpret_cast<Raw>(fn)); }
  /// The kernel for `device`; NotImplementedError "softplus: no cuda kernel (have: cpu)" if none.
  Fn get(Device device) const {
    const Raw raw = table_[static_cast<size_t>(device.type)];
    if (!raw) [[unlikely]]
      throw_missing(device);
    return reinterpret_cast<Fn>(raw);
  }
  /// Calls the kernel for `device`, as observers can see (tensor/kernel_observer.h). Throws as
  /// get().
  R operator()(Device device, Args... args) const {
    if (!device.is_cpu()) detail::select_cuda_device(device.index);
    if (kernels_observed.load(std::memory_order_relaxed)) [[unlikely]]
      return call_observed(device, args...);
    return get(device)(args...);
  }

 private:
  // The arguments as the caller passed them, or copies of them.
  template <bool kOwned>
  class Call;

  [[gnu::noinline, gnu::cold]] R call_observed(Device device, Args... args) const {
    Call<false> call(*this, device, std::tuple<Args...>(args...));
    get(device);  // a missing kernel throws before observers are asked
    observe(call);
    return call.result();
  }

  Flops flops_;
};

template <class R, class... Args>
template <bool kOwned>
class KernelSlot<R(Args...)>::Call final : public KernelCall {
 public:
  using Arguments =
      std::conditional_t<kOwned, std::tuple<std::decay_t<Args>...>, std::tuple<Args...>>;

  Call(const KernelSlot& slot, Device device, Arguments arguments)
      : KernelCall(slot, device), typed_slot_(slot), arguments_(std::move(arguments)) {
    collect_all(std::index_sequence_for<Args...>{});
  }
  int64_t flops() override {
    return typed_slot_.flops_ ? std::apply(typed_slot_.flops_, arguments_) : 0;
  }
  std::unique_ptr<KernelCall> clone() const override {
    TESSERA_CHECK(Error, std::is_void_v<R>, typed_slot_.name(),
                  ": a kernel that returns something cannot be called again later");
    return std::make_unique<Call<true>>(typed_slot_, device(), arguments_);
  }
  R result() {
    if constexpr (!std::is_void_v<R>) {
      TESSERA_CHECK(Error, result_, typed_slot_.name(),
                    ": an observer did not run a kernel that returns something");
      return std::move(*result_);
    }
  }

 private:
  void invoke() override {
    const auto call = [&](auto&... each) -> R {
      if constexpr (kOwned)
        return typed_slot_(device(), each...);
      else
        return typed_slot_.get(device())(each...);
    };
    if constexpr (std::is_void_v<R>)
      std::apply(call, arguments_);
    else
      result_ = std::apply(call, arguments_);
  }
  template <size_t... I>
  void collect_all(std::index_sequence<I...>) {
    constexpr auto written = []<class A>(std::type_identity<A>) {
      return std::is_lvalue_reference_v<A> && !std::is_const_v<std::remove_reference_t<A>>;
    };
    (collect(std::get<I>(arguments_), written(std::type_identity<Args>{})), ...);
  }
  template <class Arg>
  void collect(const Arg& argument, bool written) {
    const auto add = [&](const Tensor& t) {
      tensors_.push_back(&t);
      written_.push_back(written);
    };
    if constexpr (requires { visit_tensors(argument, add); })
      visit_tensors(argument, add);
    else
      static_assert(std::is_trivially_copyable_v<Arg>,
                    "a struct that may hold tensors needs an overload of visit_tensors");
  }

  const KernelSlot& typed_slot_;
  Arguments arguments_;
  std::conditional_t<std::is_void_v<R>, std::monostate, std::optional<R>> result_{};
};

}  // namespace tessera

/// Fills tessera::kernel::`slot` for `device` (cpu or cuda) with `fn` before main().
#define TESSERA_KERNEL(slot, device, fn)                                     \
  [[maybe_unused]] static const bool TESSERA_CAT(kernel_set_, __COUNTER__) = \
      ::tessera::kernel::slot.set(::tessera::DeviceType::device, fn)

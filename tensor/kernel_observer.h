#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace tessera {

class KernelSlotBase;
class KernelObserver;
using KernelObservers = std::vector<std::shared_ptr<KernelObserver>>;

/// Calls f with every defined tensor in an argument of a kernel. A struct that holds tensors, or
/// that is not trivially copyable and holds none, has an overload of its own beside it.
template <class F>
void visit_tensors(const Tensor& tensor, F&& f) {
  if (tensor.defined()) f(tensor);
}
template <class F>
void visit_tensors(const Tensors& tensors, F&& f) {
  for (const Tensor& t : tensors) visit_tensors(t, f);
}

/// A kernel with its arguments, about to be called or kept for later.
class KernelCall {
 public:
  virtual ~KernelCall() = default;
  KernelCall(const KernelCall&) = delete;
  KernelCall& operator=(const KernelCall&) = delete;

  const KernelSlotBase& slot() const { return *slot_; }
  Device device() const { return device_; }
  /// Every defined tensor among the arguments in their order, inputs and outputs alike. One that is
  /// passed twice is listed twice.
  std::span<const Tensor* const> tensors() const { return tensors_; }
  /// Whether the kernel takes tensors()[i] to write it (a non-const reference in its signature).
  bool writes(size_t i) const { return written_[i]; }
  /// Floating-point operations of the call, multiply and add counted apart; 0 where the slot does
  /// not count them.
  virtual int64_t flops() = 0;
  /// The call the slot was asked for: hands over to the next observer, or runs the kernel. A copy
  /// made by clone(): calls the slot anew, which observers see as any other call.
  void run();
  /// A copy that owns its arguments and shares their tensors, to be run any number of times. Throws
  /// Error for a kernel that returns something: what follows such a call depends on the data.
  virtual std::unique_ptr<KernelCall> clone() const = 0;

 protected:
  KernelCall(const KernelSlotBase& slot, Device device) : slot_(&slot), device_(device) {}
  virtual void invoke() = 0;

  std::vector<const Tensor*> tensors_;
  std::vector<bool> written_;

 private:
  friend void observe(KernelCall& call);

  const KernelSlotBase* slot_;
  Device device_;
  std::span<const std::shared_ptr<KernelObserver>> waiting_;  // the last one is next
};

/// Sees the kernel calls of all threads, also those that a kernel makes itself: profiling, or the
/// capture of a network's calls.
class KernelObserver {
 public:
  virtual ~KernelObserver() = default;
  /// Takes the place of a kernel call, on the thread that makes it: call.run() goes on with it. A
  /// kernel that returns something must be run (Error otherwise). The call is gone afterwards; see
  /// KernelCall::clone(). May be entered by several threads at once, and again from within run().
  virtual void call(KernelCall& call) = 0;
  /// A KernelSpan of this thread begins, and the innermost one ends.
  virtual void begin_span(std::string_view /*name*/) {}
  virtual void end_span() noexcept {}
};

/// Lets `observer` see kernel calls while it lives. Several may live at once: the newest is asked
/// first. A call that is under way on another thread when the guard ends still reaches the
/// observer, which lives as long as it is needed.
class KernelObserverGuard {
 public:
  explicit KernelObserverGuard(std::shared_ptr<KernelObserver> observer);
  ~KernelObserverGuard();
  KernelObserverGuard(const KernelObserverGuard&) = delete;
  KernelObserverGuard& operator=(const KernelObserverGuard&) = delete;

 private:
  std::shared_ptr<KernelObserver> observer_;
};

/// Whether anyone observes: all that an unobserved call pays for.
extern constinit std::atomic<bool> kernels_observed;
/// Runs a call by way of the observers.
void observe(KernelCall& call);

/// Tells observers what this thread does while it lives: "backward", the operator whose gradient is
/// computed, "optimizer". Spans nest.
class KernelSpan {
 public:
  explicit KernelSpan(std::string_view name) {
    if (kernels_observed.load(std::memory_order_relaxed)) [[unlikely]]
      begin(name);
  }
  ~KernelSpan() {
    if (told_) [[unlikely]]
      end();
  }
  KernelSpan(const KernelSpan&) = delete;
  KernelSpan& operator=(const KernelSpan&) = delete;

 private:
  void begin(std::string_view name);
  void end() noexcept;
  std::shared_ptr<const KernelObservers> told_;
};

}  // namespace tessera

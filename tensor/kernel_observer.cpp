#include "tensor/kernel_observer.h"

#include <algorithm>
#include <mutex>

namespace tessera {
namespace {

// Replaced as a whole, so that whoever took a list may use it without the lock.
struct Registry {
  std::mutex mutex;
  std::shared_ptr<const KernelObservers> list = std::make_shared<KernelObservers>();
};

Registry& registry() {
  static Registry* const r = new Registry;  // guards of static objects may outlive it otherwise
  return *r;
}

std::shared_ptr<const KernelObservers> observers() {
  const std::lock_guard lock(registry().mutex);
  return registry().list;
}

template <class Change>
void change_observers(Change&& change) {
  Registry& r = registry();
  const std::lock_guard lock(r.mutex);
  auto list = std::make_shared<KernelObservers>(*r.list);
  change(*list);
  kernels_observed.store(!list->empty(), std::memory_order_relaxed);
  r.list = std::move(list);
}

}  // namespace

constinit std::atomic<bool> kernels_observed{false};

void observe(KernelCall& call) {
  const auto list = observers();
  call.waiting_ = *list;
  call.run();
}

void KernelCall::run() {
  if (waiting_.empty()) return invoke();
  KernelObserver& next = *waiting_.back();
  waiting_ = waiting_.first(waiting_.size() - 1);
  next.call(*this);
}

KernelObserverGuard::KernelObserverGuard(std::shared_ptr<KernelObserver> observer)
    : observer_(std::move(observer)) {
  change_observers([&](KernelObservers& list) { list.push_back(observer_); });
}

KernelObserverGuard::~KernelObserverGuard() {
  change_observers([&](KernelObservers& list) {
    // The last one: an observer may have been added twice.
    const auto at = std::find(list.rbegin(), list.rend(), observer_);
    list.erase(std::next(at).base());
  });
}

void KernelSpan::begin(std::string_view name) {
  auto list = observers();
  for (const auto& observer : *list) observer->begin_span(name);
  told_ = std::move(list);
}

void KernelSpan::end() noexcept {
  for (auto at = told_->rbegin(); at != told_->rend(); ++at) (*at)->end_span();
}

}  // namespace tessera

#include "nn/inference_plan.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <thread>
#include <unordered_map>
#include <utility>

#include "autograd/node.h"
#include "tensor/kernel_observer.h"
#include "tensor/kernel_slot.h"
#include "tensor/view.h"

namespace tessera::nn {
namespace {

using Calls = std::vector<std::unique_ptr<KernelCall>>;

// Keeps copies of one thread's kernel calls, but not of those that kernels make themselves. What
// the calls make is given back to the allocator as soon as only the copies refer to it: capturing a
// network needs no more memory than running it.
class Capture final : public KernelObserver {
 public:
  void call(KernelCall& call) override {
    if (std::this_thread::get_id() != owner_ || inside_) return call.run();
    calls.push_back(call.clone());
    // Arguments that are read count before those that are written.
    for (const bool written : {false, true})
      for (size_t i = 0; i < calls.back()->tensors().size(); ++i)
        if (calls.back()->writes(i) == written) note(*calls.back()->tensors()[i], written);
    inside_ = true;
    struct Leave {
      bool& inside;
      ~Leave() { inside = false; }
    } leave{inside_};
    call.run();
    release();
  }

  // Gives back what only the copies hold. Its storages have no data until they get a new place.
  void release() {
    std::erase_if(waiting_, [](const Contents* c) {
      if (!c->only_noted()) return false;
      Storage& storage = *c->storage;
      allocator(storage.device).deallocate(storage.data, storage.bytes);
      storage.data = nullptr;
      return true;
    });
  }

  // Takes the result as a handle of the plan. Returns whether the calls make its contents and
  // nobody else refers to them.
  bool adopt(const Tensor& t) {
    const auto it = contents_.find(t.impl_ptr()->storage.get());
    if (it == contents_.end()) return false;
    note(t, true);
    return std::ranges::count(waiting_, &it->second) > 0 && it->second.only_noted();
  }

  Calls calls;

 private:
  // A storage and the handles on it that have been noted.
  struct Contents {
    struct Handles {
      const Tensor* one;
      long count;
    };
    std::shared_ptr<Storage> storage;
    std::unordered_map<const TensorImpl*, Handles> handles{};

    bool only_noted() const {
      if (storage.use_count() != 1 + std::ssize(handles)) return false;
      return std::ranges::all_of(handles, [](const auto& item) {
        return item.second.one->impl_ptr().use_count() == item.second.count;
      });
    }
  };

  void note(const Tensor& t, bool written) {
    const std::shared_ptr<Storage>& storage = t.impl_ptr()->storage;
    const auto [it, added] = contents_.try_emplace(storage.get(), Contents{storage});
    if (added && written && storage->bytes > 0) waiting_.push_back(&it->second);
    const Contents::Handles none{&t, 0};
    ++it->second.handles.try_emplace(t.impl_ptr().get(), none).first->second.count;
  }

  const std::thread::id owner_ = std::this_thread::get_id();
  bool inside_ = false;
  std::unordered_map<const Storage*, Contents> contents_;
  std::vector<const Contents*> waiting_;  // made by the calls and not given back
};

// A storage that was given back, as the calls use it.
struct Use {
  std::shared_ptr<Storage> storage;
  size_t first, last;  // calls
  size_t offset = 0;   // in the shared block
};

std::vector<Use> find_uses(const Calls& calls) {
  std::vector<Use> uses;
  std::unordered_map<const Storage*, size_t> index;
  for (size_t c = 0; c < calls.size(); ++c)
    for (const Tensor* t : calls[c]->tensors()) {
      const std::shared_ptr<Storage>& storage = t->impl_ptr()->storage;
      if (storage->data || storage->bytes == 0) continue;
      const auto [at, added] = index.emplace(storage.get(), uses.size());
      if (added) uses.push_back({storage, c, c});
      uses[at->second].last = c;
    }
  return uses;
}

// Places the largest first, each as low as those alive at the same time allow. Returns the bytes of
// the block.
size_t place(std::vector<Use>& all) {
  constexpr size_t kAlignment = 64;
  std::vector<Use*> uses;
  for (Use& use : all) uses.push_back(&use);
  std::stable_sort(uses.begin(), uses.end(), [](const Use* a, const Use* b) {
    return a->storage->bytes > b->storage->bytes;
  });
  std::vector<const Use*> placed;  // by offset
  size_t total = 0;
  for (Use* use : uses) {
    size_t offset = 0;
    for (const Use* other : placed) {
      if (other->last < use->first || use->last < other->first) continue;
      if (offset + use->storage->bytes <= other->offset) break;
      offset = std::max(offset, other->offset + other->storage->bytes);
      offset = (offset + kAlignment - 1) / kAlignment * kAlignment;
    }
    use->offset = offset;
    total = std::max(total, offset + use->storage->bytes);
    placed.insert(
        std::upper_bound(placed.begin(), placed.end(), use,
                         [](const Use* a, const Use* b) { return a->offset < b->offset; }),
        use);
  }
  return total;
}

// Gives a storage other memory while it lives.
class Rebound {
 public:
  Rebound(Storage& storage, void* data) : storage_(storage), own_(storage.data) {
    storage.data = data;
  }
  ~Rebound() { storage_.data = own_; }
  Rebound(const Rebound&) = delete;
  Rebound& operator=(const Rebound&) = delete;

 private:
  Storage& storage_;
  void* own_;
};

bool same_bits(const Tensor& a, const Tensor& b) {
  const Tensor x = view::contiguous(view::to(a, kCpu)), y = view::contiguous(view::to(b, kCpu));
  return x.shape() == y.shape() && x.dtype() == y.dtype() &&
         (x.numel() == 0 ||
          std::memcmp(x.raw_data(), y.raw_data(), static_cast<size_t>(x.nbytes())) == 0);
}

}  // namespace

struct InferencePlan::State {
  Calls calls;
  Tensor input, output;
  bool output_is_made = false;  // by the calls, in memory that nobody else holds
  std::shared_ptr<Storage> block;
  std::vector<std::unique_ptr<Rebound>> in_block;  // destroyed before the storages
  int64_t unshared_bytes = 0;

  void lay_out() {
    std::vector<Use> uses = find_uses(calls);
    block = std::make_shared<Storage>(place(uses), input.device());
    for (const Use& use : uses) {
      unshared_bytes += static_cast<int64_t>(use.storage->bytes);
      in_block.push_back(std::make_unique<Rebound>(
          *use.storage, static_cast<std::byte*>(block->data) + use.offset));
    }
  }
};

InferencePlan::InferencePlan(const Forward& forward, const Tensor& example)
    : state_(std::make_unique<State>()) {
  NoGradGuard no_grad;
  State& s = *state_;
  forward(example);  // what is made once, such as folded filters, is not part of the pass
  s.input = view::clone(example.detach());
  {
    const auto capture = std::make_shared<Capture>();
    KernelObserverGuard guard(capture);
    s.output = forward(s.input);
    capture->release();
    s.output_is_made = capture->adopt(s.output);
    s.calls = std::move(capture->calls);
  }
  s.lay_out();
  Tensor other = view::clone(s.input);
  if (other.numel() > 0) {  // the same values elsewhere
    const Tensor flat = view::reshape(other, {other.numel()});
    const int64_t half = (other.numel() + 1) / 2;
    const Tensor source = view::reshape(s.input, {other.numel()});
    Tensor head = view::slice(flat, 0, 0, other.numel() - half);
    copy_(head, view::slice(source, 0, half, other.numel()));
    Tensor tail = view::slice(flat, 0, other.numel() - half, other.numel());
    copy_(tail, view::slice(source, 0, 0, half));
  }
  for (const Tensor& x : {example.detach(), other})
    TESSERA_CHECK(
        Error, same_bits((*this)(x), forward(x)),
        "InferencePlan: the network's result does not follow from its kernel calls alone");
}

InferencePlan::~InferencePlan() = default;
InferencePlan::InferencePlan(InferencePlan&&) noexcept = default;
InferencePlan& InferencePlan::operator=(InferencePlan&&) noexcept = default;

Tensor InferencePlan::operator()(const Tensor& x) {
  NoGradGuard no_grad;
  State& s = *state_;
  TESSERA_CHECK(ShapeError, x.shape() == s.input.shape(), "InferencePlan: made for ",
                s.input.shape(), ", got ", x.shape());
  TESSERA_CHECK(DTypeError, x.dtype() == s.input.dtype(), "InferencePlan: made for ",
                s.input.dtype(), ", got ", x.dtype());
  TESSERA_CHECK(DeviceError, x.device() == s.input.device(), "InferencePlan: made for ",
                to_string(s.input.device()), ", got ", to_string(x.device()));
  const Tensor dense = view::contiguous(x.detach());
  const Rebound in(*s.input.impl_ptr()->storage, dense.raw_data());
  if (!s.output_is_made) {
    for (const auto& call : s.calls) call->run();
    return view::clone(s.output);
  }
  const auto impl = std::make_shared<TensorImpl>();
  impl->shape = s.output.shape();
  impl->strides = s.output.strides();
  impl->offset = s.output.impl_ptr()->offset;
  impl->dtype = s.output.dtype();
  Storage& made = *s.output.impl_ptr()->storage;
  impl->storage = std::make_shared<Storage>(made.bytes, made.device);
  const Rebound out(made, impl->storage->data);
  for (const auto& call : s.calls) call->run();
  return Tensor(impl);
}

int64_t InferencePlan::kernel_calls() const { return std::ssize(state_->calls); }
int64_t InferencePlan::activation_bytes() const {
  return static_cast<int64_t>(state_->block->bytes);
}
int64_t InferencePlan::unshared_activation_bytes() const { return state_->unshared_bytes; }

InferencePlan optimize_for_inference(Module& network, const Tensor& example) {
  network.eval();
  return InferencePlan([&](const Tensor& x) { return network.forward(x); }, example);
}

}  // namespace tessera::nn

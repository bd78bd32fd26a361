#include "ops/cpu/packed_weights.h"

#include <algorithm>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

namespace tessera::cpu {
namespace {

using Pack = std::function<void(void*)>;

const std::shared_ptr<Storage>& thread_block(size_t bytes) {
  thread_local std::shared_ptr<Storage> block;
  if (!block || block->bytes < bytes) {
    block.reset();
    block = std::make_shared<Storage>(bytes, kCpu);
  }
  return block;
}

// The storage is watched through a weak pointer: its address alone could be that of a later one.
class PackedWeights {
 public:
  std::shared_ptr<Storage> get(const Tensor& w, const std::string& layout, size_t bytes,
                               const Pack& pack) {
    // Packing runs in parallel and is not done under the lock, which its threads may want too.
    const std::optional<std::shared_ptr<Storage>> kept = look_up(w, layout);
    if (!kept) {
      const std::shared_ptr<Storage>& block = thread_block(bytes);
      pack(block->data);
      return block;
    }
    if (*kept) return *kept;
    auto buffer = std::make_shared<Storage>(bytes, kCpu);
    pack(buffer->data);
    keep(w, layout, buffer);
    return buffer;
  }

  int64_t count() {
    std::lock_guard lock(mutex_);
    sweep();
    int64_t n = 0;
    for (const auto& [address, owner] : owners_)
      n += std::ranges::count_if(owner.packed, [](const Packed& p) { return p.buffer != nullptr; });
    return n;
  }

 private:
  struct Packed {
    int64_t offset;
    Shape shape;
    std::string layout;
    std::optional<uint32_t> version{};  // of the weights at the last use
    std::shared_ptr<Storage> buffer{};  // from the second use of a version on
  };
  struct Owner {
    std::weak_ptr<Storage> storage;
    std::vector<Packed> packed;
  };

  Packed& find(const Tensor& w, const std::string& layout) {
    const std::shared_ptr<Storage>& storage = w.impl_ptr()->storage;
    Owner& owner = owners_[storage.get()];
    if (owner.storage.lock() != storage) {
      owner = {storage, {}};
      sweep();
    }
    const int64_t offset = w.impl_ptr()->offset;
    for (Packed& p : owner.packed)
      if (p.offset == offset && p.shape == w.shape() && p.layout == layout) return p;
    owner.packed.push_back({.offset = offset, .shape = w.shape(), .layout = layout});
    return owner.packed.back();
  }

  // Nothing at the first use of a version of the weights; then the copy, null before it is made.
  std::optional<std::shared_ptr<Storage>> look_up(const Tensor& w, const std::string& layout) {
    std::lock_guard lock(mutex_);
    Packed& p = find(w, layout);
    if (p.version == w.version()) return p.buffer;
    p.version = w.version();
    p.buffer.reset();
    return std::nullopt;
  }

  void keep(const Tensor& w, const std::string& layout, const std::shared_ptr<Storage>& buffer) {
    std::lock_guard lock(mutex_);
    Packed& p = find(w, layout);
    if (p.version == w.version()) p.buffer = buffer;
  }

  // Forgets storages that are gone; weights made anew for every call would pile up otherwise.
  void sweep() {
    std::erase_if(owners_, [](const auto& item) { return item.second.storage.expired(); });
  }

  std::mutex mutex_;
  std::unordered_map<const Storage*, Owner> owners_;
};

PackedWeights& cache() {
  static PackedWeights instance;
  return instance;
}

}  // namespace

std::shared_ptr<Storage> packed_weights(const Tensor& w, const std::string& layout, size_t bytes,
                                        const Pack& pack) {
  return cache().get(w, layout, bytes, pack);
}

int64_t packed_weight_count() { return cache().count(); }

}  // namespace tessera::cpu

#if !defined(TESSERA_REFERENCE)

#include "ops/cpu/onednn.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "tensor/parallel.h"

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace tessera::cpu::onednn {
namespace {

using Desc = dnnl::memory::desc;

// The storage is watched through a weak pointer: its address alone could be that of a later one.
class PackedWeights {
 public:
  std::shared_ptr<Storage> get(const Tensor& w, const Desc& from, const Desc& to,
                               const dnnl::reorder& reorder) {
    const std::shared_ptr<Storage>& storage = w.impl_ptr()->storage;
    const uint32_t version = w.version();
    std::lock_guard lock(mutex_);
    Owner& owner = owners_[storage.get()];
    if (owner.storage.lock() != storage) {
      owner = {storage, {}};
      sweep();
    }
    Packed& p = find(owner, w.impl_ptr()->offset, from, to);
    const bool current = p.version == version && p.rewrites >= 0;
    p.rewrites = current ? 0 : p.rewrites + 1;
    p.version = version;
    if (p.rewrites > kMaxRewrites) {
      p.buffer.reset();
      const std::shared_ptr<Storage>& block = scratch(Scratch::weights, to.get_size());
      pack(w, from, to, reorder, *block);
      return block;
    }
    if (current && p.buffer) return p.buffer;
    // Another thread may still read the old copy, when another part of the storage was written.
    if (!p.buffer || p.buffer.use_count() > 1)
      p.buffer = std::make_shared<Storage>(to.get_size(), kCpu);
    pack(w, from, to, reorder, *p.buffer);
    return p.buffer;
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
  static constexpr int kMaxRewrites = 2;
  struct Packed {
    int64_t offset;
    Desc from, to;
    uint32_t version = 0;
    int rewrites = -1;  // uses in a row that found the weights changed; -1 before the first
    std::shared_ptr<Storage> buffer{};
  };
  struct Owner {
    std::weak_ptr<Storage> storage;
    std::vector<Packed> packed;
  };

  static Packed& find(Owner& owner, int64_t offset, const Desc& from, const Desc& to) {
    for (Packed& p : owner.packed)
      if (p.offset == offset && p.from == from && p.to == to) return p;
    owner.packed.push_back({.offset = offset, .from = from, .to = to});
    return owner.packed.back();
  }

  static void pack(const Tensor& w, const Desc& from, const Desc& to, const dnnl::reorder& reorder,
                   Storage& buffer) {
    dnnl::memory source(from, engine(), w.raw_data()), target(to, engine(), buffer.data);
    reorder.execute(stream(), source, target);
    stream().wait();
  }

  // Forgets storages that are gone; weights made anew for every call would pile up otherwise.
  void sweep() {
    std::erase_if(owners_, [](const auto& item) { return item.second.storage.expired(); });
  }

  std::mutex mutex_;
  std::unordered_map<const Storage*, Owner> owners_;
};

PackedWeights& packed_cache() {
  static PackedWeights cache;
  return cache;
}

}  // namespace

const dnnl::engine& engine() {
  // Never destroyed: primitives in static caches refer to it.
  static const auto* instance = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *instance;
}

dnnl::stream& stream() {
  thread_local dnnl::stream instance(engine());
  return instance;
}

int use_our_threads() {
  const int threads = in_parallel_region() ? 1 : num_threads();
#if defined(_OPENMP)
  if (omp_get_max_threads() != threads) omp_set_num_threads(threads);
#endif
  return threads;
}

const std::shared_ptr<Storage>& scratch(Scratch purpose, size_t bytes) {
  thread_local std::array<std::shared_ptr<Storage>, 3> blocks;
  std::shared_ptr<Storage>& block = blocks[static_cast<size_t>(purpose)];
  if (!block || block->bytes < bytes) {
    block.reset();
    block = std::make_shared<Storage>(bytes, kCpu);
  }
  return block;
}

std::shared_ptr<Storage> packed_weights(const Tensor& w, const Desc& from, const Desc& to,
                                        const dnnl::reorder& reorder) {
  return packed_cache().get(w, from, to, reorder);
}

int64_t packed_weight_count() { return packed_cache().count(); }

}  // namespace tessera::cpu::onednn

#endif

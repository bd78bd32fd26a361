#if !defined(TESSERA_REFERENCE)

#include "ops/cpu/onednn.h"

#include <array>

#include "tensor/parallel.h"

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace tessera::cpu::onednn {
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
  thread_local std::array<std::shared_ptr<Storage>, 2> blocks;
  std::shared_ptr<Storage>& block = blocks[static_cast<size_t>(purpose)];
  if (!block || block->bytes < bytes) {
    block.reset();
    block = std::make_shared<Storage>(bytes, kCpu);
  }
  return block;
}

}  // namespace tessera::cpu::onednn

#endif

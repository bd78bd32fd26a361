#include "cuda/launch.h"
#include "cuda/map.cuh"
#include "ops/optim/update_formulas.h"

namespace tessera {
namespace {

constexpr int kThreads = 256;
// Neighbours that a thread takes at once, and the elements of a block.
template <class T>
constexpr int kVector = 16 / sizeof(T);
template <class T>
constexpr int64_t kChunk = 4 * kThreads* kVector<T>;

/// What a launch works on: up to kTensors parameters, each with its gradient and state. It travels
/// in the kernel's arguments, which hold 4 KiB.
template <class T, int kLists>
struct UpdateTable {
  static constexpr int kTensors = 3840 / (8 * kLists + 12);
  T* data[kLists][kTensors];     // 0: parameters, 1: gradients, then the state
  int64_t count[kTensors];       // elements
  uint32_t first[kTensors + 1];  // of the chunks, all parameters numbered through
  int tensors;
};

template <class T, class Step, size_t... kState>
__device__ __forceinline__ void take_step(const Step& step, T* const (&v)[2 + sizeof...(kState)],
                                          int k, std::index_sequence<kState...>) {
  step(v[0][k], v[1][k], v[2 + kState][k]...);
}

// The kLists lists from element i on: loads kWidth neighbours of each, steps, stores all but the
// gradients.
template <int kWidth, class T, class Step, int kLists>
__device__ __forceinline__ void update_group(const Step& step, T* const (&list)[kLists],
                                             int64_t i) {
  using Pack = cuda::detail::Pack<T, kWidth>;
  Pack v[kLists];
  TESSERA_UNROLL
  for (int l = 0; l < kLists; ++l) v[l] = *reinterpret_cast<const Pack*>(list[l] + i);
  TESSERA_UNROLL
  for (int k = 0; k < kWidth; ++k) {
    T* element[kLists];
    TESSERA_UNROLL
    for (int l = 0; l < kLists; ++l) element[l] = v[l].v;
    take_step(step, element, k, std::make_index_sequence<kLists - 2>{});
  }
  TESSERA_UNROLL
  for (int l = 0; l < kLists; ++l)
    if (l != 1) *reinterpret_cast<Pack*>(list[l] + i) = v[l];
}

/// The step of many parameters in one launch. A block owns kChunk neighbours of one parameter (and
/// more a grid's stride away), found by bisection among the chunks' numbers; a thread takes 16
/// bytes of each list at once where all of them are aligned, single elements otherwise and at the
/// end. Bytes: each list read once, all but the gradients written once, in f32 12 an element for
/// plain SGD and 28 for Adam: bound by memory.
template <class T, int kLists, class Step>
__global__ void __launch_bounds__(kThreads, 1)
    update_chunks(const __grid_constant__ UpdateTable<T, kLists> table, Step step) {
  for (uint32_t chunk = blockIdx.x; chunk < table.first[table.tensors]; chunk += gridDim.x) {
    int tensor = 0;
    for (int beyond = table.tensors; beyond - tensor > 1;) {
      const int middle = (tensor + beyond) / 2;
      (table.first[middle] <= chunk ? tensor : beyond) = middle;
    }
    T* list[kLists];
    uintptr_t address = 0;
    TESSERA_UNROLL
    for (int l = 0; l < kLists; ++l) {
      list[l] = table.data[l][tensor];
      address |= reinterpret_cast<uintptr_t>(list[l]);
    }
    const int64_t begin = int64_t{chunk - table.first[tensor]} * kChunk<T>;
    const int64_t left = table.count[tensor] - begin;
    const int64_t end = begin + (left < kChunk<T> ? left : kChunk<T>);
    const int64_t packed = address % 16 == 0 ? end - (end - begin) % kVector<T> : begin;
    for (int64_t i = begin + threadIdx.x * kVector<T>; i < packed; i += kThreads * kVector<T>)
      update_group<kVector<T>>(step, list, i);
    for (int64_t i = packed + threadIdx.x; i < end; i += kThreads) update_group<1>(step, list, i);
  }
}

// The gradients are not written to.
template <class T, class Step, class... State>
void update_all(const Step& step, const Tensors& p, const Tensors& g, const State&... state) {
  constexpr int kLists = 2 + sizeof...(State);
  using Table = UpdateTable<T, kLists>;
  static_assert(sizeof(Table) + sizeof(Step) <= 4096);
  const std::array<const Tensors*, kLists> lists{&p, &g, &state...};
  Table table;
  table.tensors = 0;
  table.first[0] = 0;
  const auto run = [&] {
    const uint32_t chunks = table.first[table.tensors];
    if (chunks > 0)
      cuda::launch(update_chunks<T, kLists, Step>, {cuda::grid_for(chunks, 1), kThreads}, table,
                   step);
    table.tensors = 0;
  };
  for (size_t i = 0; i < p.size(); ++i) {
    const int64_t count = p[i].numel(), chunks = (count + kChunk<T> - 1) / kChunk<T>;
    if (count == 0) continue;
    TESSERA_CHECK(ValueError, chunks < INT32_MAX, "optimizer: parameter ", i, " of shape ",
                  p[i].shape(), " is too large");
    if (table.tensors == Table::kTensors || table.first[table.tensors] + chunks > INT32_MAX) run();
    const int t = table.tensors++;
    for (int l = 0; l < kLists; ++l) table.data[l][t] = (*lists[l])[i].template data<T>();
    table.count[t] = count;
    table.first[t + 1] = table.first[t] + static_cast<uint32_t>(chunks);
  }
  run();
}

void sgd_cuda(const Tensors& p, const Tensors& g, const Tensors& velocity, const SgdUpdate& u) {
  dispatch_float(p[0].dtype(), "sgd", [&]<class T>() {
    const math::SgdStep<T> step(u);
    velocity.empty() ? update_all<T>(step, p, g) : update_all<T>(step, p, g, velocity);
  });
}

void adam_cuda(const Tensors& p, const Tensors& g, const Tensors& m, const Tensors& v,
               const Tensors& v_max, const AdamUpdate& u) {
  dispatch_float(p[0].dtype(), "adam", [&]<class T>() {
    const math::AdamStep<T> step(u);
    v_max.empty() ? update_all<T>(step, p, g, m, v) : update_all<T>(step, p, g, m, v, v_max);
  });
}

void rmsprop_cuda(const Tensors& p, const Tensors& g, const Tensors& s, const Tensors& a,
                  const Tensors& b, const RmspropUpdate& u) {
  dispatch_float(p[0].dtype(), "rmsprop", [&]<class T>() {
    math::with_rmsprop_step<T>(u, s, a, b, [&](const auto& step, const auto&... state) {
      update_all<T>(step, p, g, state...);
    });
  });
}

TESSERA_KERNEL(sgd_update, cuda, sgd_cuda);
TESSERA_KERNEL(adam_update, cuda, adam_cuda);
TESSERA_KERNEL(rmsprop_update, cuda, rmsprop_cuda);

}  // namespace
}  // namespace tessera

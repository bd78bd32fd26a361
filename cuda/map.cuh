#pragma once

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include "cuda/index.h"
#include "cuda/launch.h"
#include "tensor/strided_loop.h"
#include "tensor/view.h"

/// The pointwise loop of the GPU, the counterpart of ops/cpu/map.h: any function of any number of
/// inputs, with broadcasting and any strides.
namespace tessera::cuda {

namespace detail {

inline constexpr int kMapBlock = 256;
// Neighbours that a thread takes at once where the inner axis allows it: 16 bytes of the widest
// type.
template <class... T>
inline constexpr int kMapVector = std::clamp(16 / static_cast<int>(std::max({sizeof(T)...})), 1, 8);

/// kVector neighbours, loaded and stored at once.
template <class T, int kVector>
struct alignas(sizeof(T) * kVector) Pack {
  T v[kVector];
};

/// Where groups of elements lie: the group's number split into coordinates, the last axis in steps
/// of a group. strides[i] belong to operand i; operand 0 is the output.
template <int kOperands>
struct MapLayout {
  int rank;         // of the axes in front of the last one
  Divider groups;   // groups along the last axis
  Divider axis[8];  // sizes of the others
  int64_t inner;    // size of the last axis
  int64_t strides[kOperands][8];
  int64_t inner_stride[kOperands];
};

// Loads operand elements [0, kVector) behind `p`, which step by `stride`: 1, 0 or (for kVector 1)
// anything.
template <int kVector, class T>
__device__ __forceinline__ Pack<T, kVector> load_pack(const T* p, int64_t stride) {
  if constexpr (kVector == 1) {
    return {{*p}};
  } else {
    if (stride != 0) return *reinterpret_cast<const Pack<T, kVector>*>(p);
    Pack<T, kVector> same;
    const T value = *p;
    TESSERA_UNROLL
    for (int k = 0; k < kVector; ++k) same.v[k] = value;
    return same;
  }
}

template <class T>
__device__ __forceinline__ compute_t<T> widened(const T& v) {
  return static_cast<compute_t<T>>(v);
}

// One thread per group of kVector elements along the last axis; a last axis that is no multiple of
// kVector occurs only where it is the only one, and its last group takes what is left one by one.
template <int kVector, class F, class Out, class... In, size_t... I>
__device__ __forceinline__ void map_group(uint32_t group, const MapLayout<1 + sizeof...(In)>& at,
                                          const F& f, Out* y, std::index_sequence<I...>,
                                          const In*... x) {
  int64_t offset[1 + sizeof...(In)];
  uint32_t rest = group;
  const uint32_t outer = at.groups.split(rest);
  const int64_t first = int64_t{rest} * kVector;
  TESSERA_UNROLL
  for (int i = 0; i <= static_cast<int>(sizeof...(In)); ++i) offset[i] = first * at.inner_stride[i];
  rest = outer;
  for (int axis = at.rank - 1; axis >= 0; --axis) {
    uint32_t coordinate = rest;
    rest = at.axis[axis].split(coordinate);
    TESSERA_UNROLL
    for (int i = 0; i <= static_cast<int>(sizeof...(In)); ++i)
      offset[i] += int64_t{coordinate} * at.strides[i][axis];
  }
  if (kVector > 1 && first + kVector > at.inner) {
    for (int64_t k = 0; k < at.inner - first; ++k)
      y[offset[0] + k] =
          static_cast<Out>(f(widened(x[offset[1 + I] + k * at.inner_stride[1 + I]])...));
    return;
  }
  const std::tuple<Pack<In, kVector>...> in{
      load_pack<kVector>(x + offset[1 + I], at.inner_stride[1 + I])...};
  Pack<Out, kVector> out;
  TESSERA_UNROLL
  for (int k = 0; k < kVector; ++k)
    out.v[k] = static_cast<Out>(f(widened(std::get<I>(in).v[k])...));
  *reinterpret_cast<Pack<Out, kVector>*>(y + offset[0]) = out;
}

// One block per multiprocessor is asked for, or ptxas would rather spill than pass 64 registers.
template <int kVector, class F, class Out, class... In>
__global__ void __launch_bounds__(kMapBlock, 1)
    map_kernel(uint32_t groups, MapLayout<1 + sizeof...(In)> at, F f, Out* y, const In*... x) {
  const uint32_t step = gridDim.x * blockDim.x;
  for (uint32_t g = blockIdx.x * blockDim.x + threadIdx.x; g < groups; g += step)
    map_group<kVector>(g, at, f, y, std::index_sequence_for<In...>{}, x...);
}

template <int kOperands>
MapLayout<kOperands> map_layout(const StridedLoop<kOperands>& loop, int vector) {
  MapLayout<kOperands> at{};
  at.rank = loop.shape.rank() - 1;
  at.inner = loop.inner();
  at.groups = Divider((at.inner + vector - 1) / vector);
  for (int axis = 0; axis < at.rank; ++axis) at.axis[axis] = Divider(loop.shape[axis]);
  for (int i = 0; i < kOperands; ++i) {
    for (int axis = 0; axis < at.rank; ++axis) at.strides[i][axis] = loop.strides[i][axis];
    at.inner_stride[i] = loop.inner_stride(i);
  }
  return at;
}

// Whether groups of `vector` elements lie together and aligned in every operand that is not
// constant along the last axis.
template <int kOperands>
bool packs(const StridedLoop<kOperands>& loop, const std::array<const void*, kOperands>& data,
           const std::array<int64_t, kOperands>& element, int vector) {
  const bool whole = loop.inner() % vector == 0;
  if (!whole && loop.shape.rank() > 1) return false;
  for (int i = 0; i < kOperands; ++i) {
    const int64_t stride = loop.inner_stride(i);
    if (stride == 0 && i > 0) continue;
    if (stride != 1) return false;
    if (reinterpret_cast<uintptr_t>(data[i]) % static_cast<uintptr_t>(element[i] * vector) != 0)
      return false;
    for (int axis = 0; axis + 1 < loop.shape.rank(); ++axis)
      if (loop.strides[i][axis] % vector != 0) return false;
  }
  return true;
}

template <class Out, class F, class... In, size_t... I>
void map_typed(Tensor& y, const F& f, const std::array<Tensor, sizeof...(In)>& x,
               std::index_sequence<I...> all) {
  constexpr int kOperands = 1 + sizeof...(In);
  if (y.numel() > INT32_MAX) {  // the kernel counts in 32 bits
    int axis = 0;
    while (y.size(axis) == 1) ++axis;
    const int64_t size = y.size(axis), half = size / 2;
    for (const auto& [begin, end] : {std::pair{int64_t{0}, half}, std::pair{half, size}}) {
      Tensor part = view::slice(y, axis, begin, end);
      map_typed<Out, F, In...>(part, f, {view::slice(x[I], axis, begin, end)...}, all);
    }
    return;
  }
  const StridedLoop<kOperands> loop(y.shape(), {y.strides(), x[I].strides()...});
  Out* out = y.data<Out>();
  constexpr int kVector = kMapVector<Out, In...>;
  const auto run = [&]<int kWidth>() {
    const int64_t groups =
        numel(loop.shape) / loop.inner() * ((loop.inner() + kWidth - 1) / kWidth);
    launch(map_kernel<kWidth, F, Out, In...>, {grid_for(groups, kMapBlock), kMapBlock},
           static_cast<uint32_t>(groups), map_layout(loop, kWidth), f, out,
           x[I].template data<In>()...);
  };
  if (packs<kOperands>(loop, {out, x[I].raw_data()...},
                       {int64_t{sizeof(Out)}, int64_t{sizeof(In)}...}, kVector))
    run.template operator()<kVector>();
  else
    run.template operator()<1>();
}

}  // namespace detail

/// y[i] = f(x[i]...) with every x broadcast to y's shape. `Out` is y's element type, `In...` the
/// inputs' (half types reach f as float). f is a function object with a TESSERA_HD or __device__
/// operator(). y may be one of the inputs itself. A thread makes 16 bytes of
/// neighbours where the last axis allows it. Bytes: each operand once.
template <class Out, class... In, class F, class... X>
void map(Tensor& y, const F& f, const X&... x) {
  static_assert(sizeof...(In) == sizeof...(X));
  if (y.numel() == 0) return;
  const std::array<Tensor, sizeof...(X)> inputs{
      (x.shape() == y.shape() ? x : view::broadcast_to(x, y.shape()))...};
  detail::map_typed<Out, F, In...>(y, f, inputs, std::index_sequence_for<In...>{});
}

}  // namespace tessera::cuda

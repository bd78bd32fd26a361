#pragma once

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include "tensor/stream.h"
#include "tensor/strided_loop.h"
#include "tensor/view.h"

namespace tessera::cpu {

namespace detail {

template <class T>
inline compute_t<T> load(const T& v) {
  return static_cast<compute_t<T>>(v);
}

// One dense run where operand i is constant when bit i of kMask is set. A function of its own, with
// f inlined whatever the compiler thinks of its size: otherwise the loop is not vectorised.
template <size_t kMask, class Out, class F, class... In, size_t... I>
[[gnu::noinline, gnu::flatten]] void map_run(Out* __restrict__ o, const std::tuple<const In*...>& p,
                                             int64_t count, const F& f, std::index_sequence<I...>) {
  const std::tuple<compute_t<In>...> first{load(*std::get<I>(p))...};
  for (int64_t k = 0; k < count; ++k)
    o[k] = static_cast<Out>(f((kMask >> I & 1 ? std::get<I>(first) : load(std::get<I>(p)[k]))...));
}

constexpr int64_t kStreamBlock = 64;

// Asks for a block's worth of elements 2 KB ahead: loads that wait for a mask (relu's gradient)
// come too late otherwise, and streams of writes hinder the hardware's own prefetching.
template <class T>
[[gnu::always_inline]] inline void prefetch_block(const T* p) {
  constexpr int64_t kLine = 64 / sizeof(T), kAhead = 2048 / sizeof(T);
  for (int64_t i = 0; i < kStreamBlock; i += kLine) __builtin_prefetch(p + kAhead + i);
}

// The same past the caches, for a multiple of kStreamBlock elements and o at the begin of a line.
// In small blocks, so that the processor computes some while it waits for the memory of others.
template <size_t kMask, class Out, class F, class... In, size_t... I>
[[gnu::noinline, gnu::flatten]] void map_blocks(Out* o, const std::tuple<const In*...>& p,
                                                int64_t count, const F& f,
                                                std::index_sequence<I...>) {
  const std::tuple<compute_t<In>...> first{load(*std::get<I>(p))...};
  for (int64_t b = 0; b < count; b += kStreamBlock) {
    ((kMask >> I & 1 ? void() : prefetch_block(std::get<I>(p) + b)), ...);
    alignas(kStreamLine) Out made[kStreamBlock];
    for (int64_t k = 0; k < kStreamBlock; ++k)
      made[k] = static_cast<Out>(
          f((kMask >> I & 1 ? std::get<I>(first) : load(std::get<I>(p)[b + k]))...));
    stream_copy(o + b, made, sizeof made);
  }
}

template <size_t kMask, class Out, class F, class... In, size_t... I>
void map_run_streaming(Out* o, const std::tuple<const In*...>& p, int64_t count, const F& f,
                       std::index_sequence<I...> all) {
  const auto from = [&](int64_t first) {
    return std::tuple<const In*...>{std::get<I>(p) + (kMask >> I & 1 ? 0 : first)...};
  };
  const int64_t head = std::min(elements_to_line(o), count);
  const int64_t end = head + (count - head) / kStreamBlock * kStreamBlock;
  if (head > 0) map_run<kMask>(o, p, head, f, all);
  if (head < end) map_blocks<kMask>(o + head, from(head), end - head, f, all);
  if (end < count) map_run<kMask>(o + end, from(end), count - end, f, all);
}

template <class Out, class F, class... In, size_t... I>
void map_typed(Tensor& y, const F& f, const std::array<Tensor, sizeof...(In)>& x,
               std::index_sequence<I...> all) {
  constexpr int kOperands = 1 + sizeof...(In);
  Out* out = y.data<Out>();
  const StridedLoop<kOperands> loop(y.shape(), {y.strides(), x[I].strides()...});
  const std::tuple<const In*...> in{x[I].template data<In>()...};
  const std::array<int64_t, sizeof...(In)> step{loop.inner_stride(static_cast<int>(I + 1))...};
  const int64_t out_step = loop.inner_stride(0);
  // Scalars along the run (a bias, a factor per row) get loops of their own. Not for half types,
  // whose conversions do not vectorise anyway.
  constexpr bool kHalf = ((size_of(dtype_of<In>()) == 2) || ...);
  const bool dense = out_step == 1 && ((step[I] == 1 || (step[I] == 0 && !kHalf)) && ...);
  const size_t mask = ((step[I] == 0 ? size_t{1} << I : 0) | ...);
  // What is read anyway (a := f(a, b)) is better written where it then lies. Short runs would
  // stream parts of lines.
  const bool streaming = dense && worth_streaming(y.nbytes()) && loop.inner() >= 256 &&
                         !(x[I].shares_storage(y) || ...);
  const std::make_index_sequence<kHalf ? 1 : size_t{1} << sizeof...(In)> masks;
  const auto body = [&](const std::array<int64_t, kOperands>& at, int64_t count) {
    Out* o = out + at[0];
    const std::tuple<const In*...> p{std::get<I>(in) + at[I + 1]...};
    if (dense) {
      [&]<size_t... kMask>(std::index_sequence<kMask...>) {
        const auto run = [&]<size_t k>(std::integral_constant<size_t, k>) {
          if (streaming)
            map_run_streaming<k>(o, p, count, f, all);
          else
            map_run<k>(o, p, count, f, all);
        };
        ((mask == kMask ? run(std::integral_constant<size_t, kMask>{}) : void()), ...);
      }
      (masks);
    } else {
      for (int64_t k = 0; k < count; ++k)
        o[k * out_step] = static_cast<Out>(f(load(std::get<I>(p)[k * step[I]])...));
    }
  };
  streaming ? loop.run(body, 16384, stream_fence) : loop.run(body);
}

}  // namespace detail

/// y[i] = f(x[i]...) with every x broadcast to y's shape. `Out` is y's element type, `In...` the
/// inputs' (half types reach f as float). f must be pure; it runs in parallel and vectorised.
template <class Out, class... In, class F, class... X>
void map(Tensor& y, const F& f, const X&... x) {
  static_assert(sizeof...(In) == sizeof...(X));
  if (y.numel() == 0) return;
  const std::array<Tensor, sizeof...(X)> inputs{
      (x.shape() == y.shape() ? x : view::broadcast_to(x, y.shape()))...};
  detail::map_typed<Out, F, In...>(y, f, inputs, std::index_sequence_for<In...>{});
}

}  // namespace tessera::cpu

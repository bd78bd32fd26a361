#pragma once

#include <array>
#include <utility>

#include "tensor/strided_loop.h"
#include "tensor/view.h"

namespace tessera::cpu {

namespace detail {

template <class T>
inline compute_t<T> load(const T& v) {
  return static_cast<compute_t<T>>(v);
}

template <class Out, class F, class... In, size_t... I>
void map_typed(Tensor& y, const F& f, const std::array<Tensor, sizeof...(In)>& x,
               std::index_sequence<I...>) {
  constexpr int kOperands = 1 + sizeof...(In);
  Out* out = y.data<Out>();
  const StridedLoop<kOperands> loop(y.shape(), {y.strides(), x[I].strides()...});
  const std::tuple<const In*...> in{x[I].template data<In>()...};
  std::array<int64_t, kOperands> step;
  for (int i = 0; i < kOperands; ++i) step[static_cast<size_t>(i)] = loop.inner_stride(i);
  const bool dense = step[0] == 1 && ((step[I + 1] == 1) && ...);
  loop.run([&](const std::array<int64_t, kOperands>& at, int64_t count) {
    Out* __restrict__ o = out + at[0];
    const std::tuple<const In*...> p{std::get<I>(in) + at[I + 1]...};
    if (dense) {
      for (int64_t k = 0; k < count; ++k) o[k] = static_cast<Out>(f(load(std::get<I>(p)[k])...));
    } else if (step[0] == 1 && ((step[I + 1] == 0 || step[I + 1] == 1) && ...)) {
      // Scalars along the run (a per-row factor) still vectorise: the compiler hoists the zero
      // strides.
      const std::array<bool, sizeof...(In)> constant{step[I + 1] == 0 ...};
      if constexpr (sizeof...(In) == 2) {
        if (constant[0] && !constant[1]) {
          const auto a = load(*std::get<0>(p));
          for (int64_t k = 0; k < count; ++k)
            o[k] = static_cast<Out>(f(a, load(std::get<1>(p)[k])));
          return;
        }
        if (!constant[0] && constant[1]) {
          const auto b = load(*std::get<1>(p));
          for (int64_t k = 0; k < count; ++k)
            o[k] = static_cast<Out>(f(load(std::get<0>(p)[k]), b));
          return;
        }
      }
      for (int64_t k = 0; k < count; ++k)
        o[k] = static_cast<Out>(f(load(std::get<I>(p)[k * step[I + 1]])...));
    } else {
      for (int64_t k = 0; k < count; ++k)
        o[k * step[0]] = static_cast<Out>(f(load(std::get<I>(p)[k * step[I + 1]])...));
    }
  });
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

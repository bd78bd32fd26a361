#include <algorithm>
#include <utility>
#include <vector>

#include "ops/random/random.h"
#include "ops/random/random_math.h"
#include "ops/random/words_cpu.h"

namespace tessera {

namespace kernel {
constinit KernelSlot<void(const RandomDraw&, double, double, Tensor&)> random_uniform{
    "random_uniform"};
constinit KernelSlot<void(const RandomDraw&, double, double, Tensor&)> random_normal{
    "random_normal"};
constinit KernelSlot<void(const RandomDraw&, double, double, double, double, Tensor&)>
    random_trunc_normal{"random_trunc_normal"};
constinit KernelSlot<void(const RandomDraw&, int64_t, uint64_t, Tensor&)> random_int{"random_int"};
constinit KernelSlot<void(const RandomDraw&, const Tensor&, Tensor&)> random_bernoulli{
    "random_bernoulli"};
constinit KernelSlot<void(const RandomDraw&, Tensor&)> random_permutation{"random_permutation"};
}  // namespace kernel

namespace {

/// y[i] = f(unit number of element i), where the unit number is `half` a step above the bits: 32
/// bits of one word for f32 when `wide`, its upper 24 otherwise; 53 bits of two words for f64.
template <class T, class F>
void map_unit(const RandomDraw& draw, Tensor& y, bool wide, double half, F&& f) {
  T* out = y.data<T>();
  const int64_t n = y.numel();
  if constexpr (std::is_same_v<T, double>) {
    cpu::for_each_word_run<2>(draw, n, [=](const uint32_t* w, int64_t first, int64_t count) {
      for (int64_t k = 0; k < count; ++k)
        out[first + k] = f((math::bits53(w[2 * k], w[2 * k + 1]) + half) * 0x1p-53);
    });
  } else {
    cpu::for_each_word_run<1>(draw, n, [=](const uint32_t* w, int64_t first, int64_t count) {
      const auto local = f;  // not behind the closure's pointer, or the loop is not vectorised
      const int shift = wide ? 0 : 8;
      const double step = wide ? 0x1p-32 : 0x1p-24, above = half;
      for (int64_t k = 0; k < count; ++k)
        out[first + k] = static_cast<T>(local((static_cast<double>(w[k] >> shift) + above) * step));
    });
  }
}

void random_uniform_cpu(const RandomDraw& draw, double lo, double hi, Tensor& y) {
  dispatch_float(y.dtype(), "rand",
                 [&]<class T>() { map_unit<T>(draw, y, false, 0, math::ToUniform<T>(lo, hi)); });
}

template <class T>
void random_normal_typed(const RandomDraw& draw, double mean, double stddev, Tensor& y) {
  constexpr int kWords = sizeof(T) / 4;  // of an element
  T* out = y.data<T>();
  cpu::for_each_word_run<kWords>(
      draw, y.numel(), [=](const uint32_t* w, int64_t first, int64_t count) {
        const math::ToNormal<T> scaled{mean, stddev};
        T* __restrict to = out + first;
        const auto pair = [=](int64_t k) {
          const math::NormalUnits units = math::normal_units<T>(w + 2 * kWords * k);
          return math::box_muller(units.u, units.v);
        };
        for (int64_t k = 0; k < count / 2; ++k) {
          const math::NormalPair made = pair(k);
          to[2 * k] = scaled(made.a);
          to[2 * k + 1] = scaled(made.b);
        }
        if (count % 2 != 0) to[count - 1] = scaled(pair(count / 2).a);
      });
}

void random_normal_cpu(const RandomDraw& draw, double mean, double stddev, Tensor& y) {
  dispatch_float(y.dtype(), "randn",
                 [&]<class T>() { random_normal_typed<T>(draw, mean, stddev, y); });
}

void random_trunc_normal_cpu(const RandomDraw& draw, double mean, double stddev, double lo,
                             double hi, Tensor& y) {
  const math::ToTruncatedNormal cut(mean, stddev, lo, hi);
  dispatch_float(y.dtype(), "trunc_normal",
                 [&]<class T>() { map_unit<T>(draw, y, true, 0.5, cut); });
}

void random_int_cpu(const RandomDraw& draw, int64_t lo, uint64_t range, Tensor& y) {
  int64_t* out = y.data<int64_t>();
  const int64_t n = y.numel();
  cpu::for_each_word_run<2>(draw, n, [=](const uint32_t* w, int64_t first, int64_t count) {
    for (int64_t k = 0; k < count; ++k)
      out[first + k] = math::scaled_integer(w[2 * k], w[2 * k + 1], lo, range);
  });
}

void random_bernoulli_cpu(const RandomDraw& draw, const Tensor& probabilities, Tensor& y) {
  const int64_t n = y.numel();
  dispatch_all(y.dtype(), "bernoulli", [&]<class T>() {
    T* out = y.data<T>();
    dispatch_float(probabilities.dtype(), "bernoulli", [&]<class P>() {
      const P* p = probabilities.data<P>();
      const int64_t step = probabilities.numel() == 1 ? 0 : 1;
      cpu::for_each_word_run<1>(draw, n, [=](const uint32_t* w, int64_t first, int64_t count) {
        for (int64_t k = 0; k < count; ++k)
          out[first + k] =
              static_cast<T>(math::below(w[k], static_cast<double>(p[(first + k) * step])) ? 1 : 0);
      });
    });
  });
}

void random_permutation_cpu(const RandomDraw& draw, Tensor& y) {
  const int64_t n = y.numel();
  std::vector<std::pair<uint64_t, int64_t>> keys(static_cast<size_t>(n));
  cpu::for_each_word_run<2>(draw, n, [&](const uint32_t* w, int64_t first, int64_t count) {
    for (int64_t k = 0; k < count; ++k)
      keys[static_cast<size_t>(first + k)] = {uint64_t{w[2 * k]} << 32 | w[2 * k + 1], first + k};
  });
  std::sort(keys.begin(), keys.end());
  int64_t* out = y.data<int64_t>();
  for (int64_t i = 0; i < n; ++i) out[i] = keys[static_cast<size_t>(i)].second;
}

}  // namespace

TESSERA_KERNEL(random_uniform, cpu, random_uniform_cpu);
TESSERA_KERNEL(random_normal, cpu, random_normal_cpu);
TESSERA_KERNEL(random_trunc_normal, cpu, random_trunc_normal_cpu);
TESSERA_KERNEL(random_int, cpu, random_int_cpu);
TESSERA_KERNEL(random_bernoulli, cpu, random_bernoulli_cpu);
TESSERA_KERNEL(random_permutation, cpu, random_permutation_cpu);

}  // namespace tessera

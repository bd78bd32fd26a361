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
  dispatch_float(y.dtype(), "rand", [&]<class T>() {
    const T end = static_cast<T>(hi), last = std::nextafter(end, static_cast<T>(lo));
    map_unit<T>(draw, y, false, 0, [=](double u) {
      const T v = static_cast<T>(lo + (hi - lo) * u);
      return v < end ? v : last;
    });
  });
}

/// out[2 k], out[2 k + 1] = the normal pair of units(k), `count` elements in all.
template <class T, class Units>
void put_normal(T* __restrict out, int64_t count, double mean, double stddev, Units&& units) {
  const auto scaled = [=](double v) { return static_cast<T>(mean + stddev * v); };
  for (int64_t k = 0; k < count / 2; ++k) {
    const auto [u, v] = units(k);
    const math::NormalPair pair = math::box_muller(u, v);
    out[2 * k] = scaled(pair.a);
    out[2 * k + 1] = scaled(pair.b);
  }
  if (count % 2 == 0) return;
  const auto [u, v] = units(count / 2);
  out[count - 1] = scaled(math::box_muller(u, v).a);
}

void random_normal_cpu(const RandomDraw& draw, double mean, double stddev, Tensor& y) {
  struct Units {
    double u, v;
  };
  const int64_t n = y.numel();
  if (y.dtype() == DType::f64) {
    double* out = y.data<double>();
    cpu::for_each_word_run<2>(draw, n, [=](const uint32_t* w, int64_t first, int64_t count) {
      put_normal(out + first, count, mean, stddev, [=](int64_t k) {
        return Units{1.0 - math::bits53(w[4 * k], w[4 * k + 1]) * 0x1p-53,
                     math::bits53(w[4 * k + 2], w[4 * k + 3]) * 0x1p-53};
      });
    });
    return;
  }
  float* out = y.data<float>();
  cpu::for_each_word_run<1>(draw, n, [=](const uint32_t* w, int64_t first, int64_t count) {
    put_normal(out + first, count, mean, stddev, [=](int64_t k) {
      return Units{(static_cast<double>(w[2 * k]) + 1.0) * 0x1p-32,
                   static_cast<double>(w[2 * k + 1]) * 0x1p-32};
    });
  });
}

void random_trunc_normal_cpu(const RandomDraw& draw, double mean, double stddev, double lo,
                             double hi, Tensor& y) {
  constexpr double kSqrt2 = 1.414213562373095048802, kLargest = 1 - 0x1p-53;
  const auto below = [=](double v) { return 0.5 * std::erfc(-(v - mean) / (stddev * kSqrt2)); };
  // std::clamp's references keep the loop from being vectorised.
  const auto within = [](double v, double least, double most) {
    const double w = v > least ? v : least;
    return w < most ? w : most;
  };
  const double from = below(lo), to = below(hi);
  dispatch_float(y.dtype(), "trunc_normal", [&]<class T>() {
    map_unit<T>(draw, y, true, 0.5, [=](double u) {
      // Kept inside (-1, 1), where erfinv is finite: a cut further out gives its nearer bound.
      const double x = within(2.0 * (from + (to - from) * u) - 1.0, -kLargest, kLargest);
      return within(mean + stddev * kSqrt2 * math::erfinv(x), lo, hi);
    });
  });
}

void random_int_cpu(const RandomDraw& draw, int64_t lo, uint64_t range, Tensor& y) {
  int64_t* out = y.data<int64_t>();
  const int64_t n = y.numel();
  cpu::for_each_word_run<2>(draw, n, [=](const uint32_t* w, int64_t first, int64_t count) {
    for (int64_t k = 0; k < count; ++k) {
      const uint64_t bits = uint64_t{w[2 * k]} << 32 | w[2 * k + 1];
      const auto above = static_cast<uint64_t>(static_cast<unsigned __int128>(bits) * range >> 64);
      out[first + k] = static_cast<int64_t>(static_cast<uint64_t>(lo) + above);
    }
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
        for (int64_t k = 0; k < count; ++k) {
          const double u = static_cast<double>(w[k] >> 8) * 0x1p-24;
          out[first + k] = static_cast<T>(u < static_cast<double>(p[(first + k) * step]) ? 1 : 0);
        }
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

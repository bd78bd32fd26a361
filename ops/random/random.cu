#include "ops/random/random.h"

#include "ops/index/sort.h"
#include "ops/random/random_math.h"
#include "ops/random/words.cuh"

namespace tessera {
namespace {

// f(the unit number of an element): see map_unit in ops/random/random_cpu.cpp. kDropped: the low
// bits of a word that f32 does not use.
template <class T, int kDropped, class F>
struct FromUnit {
  F f;
  double above;

  __device__ auto operator()(const uint32_t* w, int64_t, int64_t) const {
    constexpr int kCount = 16 / sizeof(T);
    cuda::Group<T, kCount> out;
    TESSERA_UNROLL
    for (int k = 0; k < kCount; ++k) {
      if constexpr (sizeof(T) == 8) {
        out.v[k] = f((math::bits53(w[2 * k], w[2 * k + 1]) + above) * 0x1p-53);
      } else {
        constexpr double kStep = kDropped == 0 ? 0x1p-32 : 0x1p-24;
        out.v[k] = static_cast<T>(f((static_cast<double>(w[k] >> kDropped) + above) * kStep));
      }
    }
    return out;
  }
};

void random_uniform_cuda(const RandomDraw& draw, double lo, double hi, Tensor& y) {
  dispatch_float(y.dtype(), "rand", [&]<class T>() {
    using F = math::ToUniform<T>;
    cuda::draw<sizeof(T) / 4, T>(draw, FromUnit<T, 8, F>{F(lo, hi), 0}, y);
  });
}

void random_trunc_normal_cuda(const RandomDraw& draw, double mean, double stddev, double lo,
                              double hi, Tensor& y) {
  dispatch_float(y.dtype(), "trunc_normal", [&]<class T>() {
    using F = math::ToTruncatedNormal;
    cuda::draw<sizeof(T) / 4, T>(draw, FromUnit<T, 0, F>{F(mean, stddev, lo, hi), 0.5}, y);
  });
}

// A pair takes two words in f32, four in f64; of an odd number the last is the first of its pair.
template <class T>
struct NormalGroup {
  math::ToNormal<T> scaled;

  __device__ auto operator()(const uint32_t* w, int64_t, int64_t) const {
    constexpr int kCount = 16 / sizeof(T);
    cuda::Group<T, kCount> out;
    TESSERA_UNROLL
    for (int k = 0; k < kCount; k += 2) {
      const math::NormalUnits units = math::normal_units<T>(w + k * sizeof(T) / 4);
      const math::NormalPair pair = math::box_muller(units.u, units.v);
      out.v[k] = scaled(pair.a);
      out.v[k + 1] = scaled(pair.b);
    }
    return out;
  }
};

void random_normal_cuda(const RandomDraw& draw, double mean, double stddev, Tensor& y) {
  dispatch_float(y.dtype(), "randn", [&]<class T>() {
    cuda::draw<sizeof(T) / 4, T>(draw, NormalGroup<T>{{mean, stddev}}, y);
  });
}

struct IntegerGroup {
  int64_t lo;
  uint64_t range;

  __device__ cuda::Group<int64_t, 2> operator()(const uint32_t* w, int64_t, int64_t) const {
    return {
        {math::scaled_integer(w[0], w[1], lo, range), math::scaled_integer(w[2], w[3], lo, range)}};
  }
};

void random_int_cuda(const RandomDraw& draw, int64_t lo, uint64_t range, Tensor& y) {
  cuda::draw<2, int64_t>(draw, IntegerGroup{lo, range}, y);
}

// The number of probabilities is 1 (`single`) or that of the results.
template <class T, class P>
struct BernoulliGroup {
  const P* p;
  bool single, aligned;

  __device__ cuda::Group<T, 4> operator()(const uint32_t* w, int64_t first, int64_t left) const {
    const auto chance = single ? cuda::Group<P, 4>{{p[0], p[0], p[0], p[0]}}
                               : cuda::load_group<4>(p + first, left, aligned);
    cuda::Group<T, 4> out;
    TESSERA_UNROLL
    for (int k = 0; k < 4; ++k)
      out.v[k] = static_cast<T>(math::below(w[k], static_cast<double>(chance.v[k])) ? 1 : 0);
    return out;
  }
};

void random_bernoulli_cuda(const RandomDraw& draw, const Tensor& probabilities, Tensor& y) {
  const auto run = [&]<class T, class P>() {
    const P* p = probabilities.data<P>();
    cuda::draw<1, T>(
        draw, BernoulliGroup<T, P>{p, probabilities.numel() == 1, cuda::group_aligned<4>(p)}, y);
  };
  // The same dtype for each element, or one number in f64.
  dispatch_all(y.dtype(), "bernoulli", [&]<class T>() {
    if (probabilities.dtype() == DType::f64) return run.template operator()<T, double>();
    if constexpr (std::is_same_v<T, float>) return run.template operator()<float, float>();
    throw DTypeError(cat("bernoulli: probabilities are ", probabilities.dtype()));
  });
}

// A pair of words as a key whose signed order is the unsigned order of its bits.
struct KeyGroup {
  __device__ cuda::Group<int64_t, 2> operator()(const uint32_t* w, int64_t, int64_t) const {
    const auto key = [](uint32_t high, uint32_t low) {
      return static_cast<int64_t>(uint64_t{high ^ 0x80000000u} << 32 | low);
    };
    return {{key(w[0], w[1]), key(w[2], w[3])}};
  }
};

// Sorting leaves equal keys in the order of their positions, as the permutation asks.
void random_permutation_cuda(const RandomDraw& draw, Tensor& y) {
  if (y.numel() == 0) return;
  Tensor keys = empty(y.shape(), DType::i64, y.device());
  cuda::draw<2, int64_t>(draw, KeyGroup{}, keys);
  kernel::topk(y.device(), keys, 0, false, y);
}

TESSERA_KERNEL(random_uniform, cuda, random_uniform_cuda);
TESSERA_KERNEL(random_normal, cuda, random_normal_cuda);
TESSERA_KERNEL(random_trunc_normal, cuda, random_trunc_normal_cuda);
TESSERA_KERNEL(random_int, cuda, random_int_cuda);
TESSERA_KERNEL(random_bernoulli, cuda, random_bernoulli_cuda);
TESSERA_KERNEL(random_permutation, cuda, random_permutation_cuda);

}  // namespace
}  // namespace tessera

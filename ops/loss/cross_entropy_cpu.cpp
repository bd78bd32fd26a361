#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "ops/loss/cross_entropy.h"
#include "ops/pointwise/elementary.h"
#include "tensor/parallel.h"
#include "tensor/view.h"

namespace tessera {
namespace {

constexpr int kLanes = 32;

// log sum exp of one row in 32 running maxima and sums.
template <class T, class C>
C log_sum_exp(const T* __restrict__ x, int64_t n) {
  C top[kLanes], sum[kLanes] = {};
  std::fill(top, top + kLanes, -std::numeric_limits<C>::infinity());
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int k = 0; k < kLanes; ++k) {
      const C v = static_cast<C>(x[i + k]);
      top[k] = v > top[k] ? v : top[k];
    }
  for (; i < n; ++i) top[0] = std::max(top[0], static_cast<C>(x[i]));
  const C m = *std::max_element(top, top + kLanes);
  for (i = 0; i + kLanes <= n; i += kLanes)
    for (int k = 0; k < kLanes; ++k) sum[k] += math::exp(static_cast<C>(x[i + k]) - m);
  for (; i < n; ++i) sum[0] += math::exp(static_cast<C>(x[i]) - m);
  C total = 0;
  for (int k = 0; k < kLanes; ++k) total += sum[k];
  return m + math::log(total);
}

// The class weights, ones where there are none, and their sum.
template <class C>
struct Weights {
  std::vector<C> values;
  C total = 0;
  Weights(const Tensor& weight, int64_t classes) {
    values = weight.defined() ? weight.to_vector<C>()
                              : std::vector<C>(static_cast<size_t>(classes), C(1));
    for (C w : values) total += w;
  }
};

int64_t row_grain(int64_t classes) { return std::max<int64_t>(1, 4096 / classes); }

void forward_cpu(const Tensor& x, const ClassTargets& t, Tensor& loss, Tensor& log_sum) {
  dispatch_floating(x.dtype(), "cross_entropy", [&]<class T>() {
    using C = compute_t<T>;
    const int64_t classes = x.size(1);
    const Weights<C> weights(t.weight, classes);
    const C* w = weights.values.data();
    const C hit = static_cast<C>(1 - t.smoothing);
    const C spread = static_cast<C>(t.smoothing / static_cast<double>(classes));
    parallel_for(0, x.size(0), row_grain(classes), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T* row = x.data<T>() + r * classes;
        const int64_t target = t.index.data<int64_t>()[r];
        const C lse = log_sum_exp<T, C>(row, classes);
        log_sum.data<C>()[r] = lse;
        C value = 0;
        if (target != t.ignore) {
          value = hit * w[target] * (lse - static_cast<C>(row[target]));
          if (spread > C(0)) {
            C rest = 0;
            for (int64_t c = 0; c < classes; ++c) rest += w[c] * (lse - static_cast<C>(row[c]));
            value += spread * rest;
          }
        }
        loss.data<T>()[r] = static_cast<T>(value);
      }
    });
  });
}

void backward_cpu(const Tensor& g, const Tensor& x, const Tensor& log_sum, const ClassTargets& t,
                  Tensor& gx) {
  dispatch_floating(x.dtype(), "cross_entropy_backward", [&]<class T>() {
    using C = compute_t<T>;
    const int64_t classes = x.size(1);
    const Weights<C> weights(t.weight, classes);
    const C* __restrict__ w = weights.values.data();
    const C hit = static_cast<C>(1 - t.smoothing);
    const C spread = static_cast<C>(t.smoothing / static_cast<double>(classes));
    parallel_for(0, x.size(0), row_grain(classes), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T* __restrict__ row = x.data<T>() + r * classes;
        T* __restrict__ out = gx.data<T>() + r * classes;
        const int64_t target = t.index.data<int64_t>()[r];
        if (target == t.ignore) {
          std::fill(out, out + classes, T(0.0f));
          continue;
        }
        const C scale = static_cast<C>(g.data<T>()[r]), lse = log_sum.data<C>()[r];
        const C mass = hit * w[target] + spread * weights.total;
        for (int64_t c = 0; c < classes; ++c)
          out[c] = static_cast<T>(scale *
                                  (mass * math::exp(static_cast<C>(row[c]) - lse) - spread * w[c]));
        const C p = math::exp(static_cast<C>(row[target]) - lse);
        out[target] = static_cast<T>(scale * (mass * p - spread * w[target] - hit * w[target]));
      }
    });
  });
}

}  // namespace

TESSERA_KERNEL(cross_entropy, cpu, forward_cpu);
TESSERA_KERNEL(cross_entropy_backward, cpu, backward_cpu);

}  // namespace tessera

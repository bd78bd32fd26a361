#pragma once

#include <cmath>

#include "ops/optim/update.h"
#include "tensor/macros.h"

/// One element's step of each optimizer, for the CPU loops and the CUDA kernels: a function object
/// called with the parameter x, its gradient g and the state that ops/optim/update.h names.
namespace tessera::math {

template <class T>
struct SgdStep {
  T lr, momentum, decay, take;
  bool nesterov, first;

  explicit SgdStep(const SgdUpdate& u)
      : lr(static_cast<T>(u.lr)),
        momentum(static_cast<T>(u.momentum)),
        decay(static_cast<T>(u.weight_decay)),
        take(static_cast<T>(1 - u.dampening)),
        nesterov(u.nesterov),
        first(u.first) {}
  TESSERA_HD void operator()(T& x, T g) const { x -= lr * (g + decay * x); }
  TESSERA_HD void operator()(T& x, T g, T& v) const {
    const T d = g + decay * x;
    const T next = first ? d : momentum * v + take * d;
    v = next;
    x -= lr * (nesterov ? d + momentum * next : next);
  }
};

template <class T>
struct AdamStep {
  T rate, root, keep, beta2, rest, eps, shrink, decay;

  explicit AdamStep(const AdamUpdate& u)
      : keep(static_cast<T>(1 - u.beta1)),
        beta2(static_cast<T>(u.beta2)),
        rest(static_cast<T>(1 - u.beta2)),
        eps(static_cast<T>(u.eps)),
        shrink(static_cast<T>(u.decoupled ? 1 - u.lr * u.weight_decay : 1.0)),
        decay(static_cast<T>(u.decoupled ? 0.0 : u.weight_decay)) {
    const auto step = static_cast<double>(u.step);
    rate = static_cast<T>(u.lr / (1 - std::pow(u.beta1, step)));
    root = static_cast<T>(std::sqrt(1 - std::pow(u.beta2, step)));
  }
  TESSERA_HD void operator()(T& x, T g, T& m, T& v) const {
    const T w = x * shrink, mean = moments(w, g, m, v);
    x = w - rate * mean / (std::sqrt(v) / root + eps);
  }
  TESSERA_HD void operator()(T& x, T g, T& m, T& v, T& v_max) const {
    const T w = x * shrink, mean = moments(w, g, m, v);
    v_max = v_max < v ? v : v_max;
    x = w - rate * mean / (std::sqrt(v_max) / root + eps);
  }

 private:
  // Updates both and gives the first.
  TESSERA_HD T moments(T w, T g, T& m, T& v) const {
    const T d = g + decay * w;
    const T mean = m + keep * (d - m);
    m = mean;
    v = beta2 * v + rest * d * d;
    return mean;
  }
};

template <class T, bool kCentered, bool kMomentum>
struct RmspropStep {
  T lr, alpha, rest, eps, decay, momentum;

  explicit RmspropStep(const RmspropUpdate& u)
      : lr(static_cast<T>(u.lr)),
        alpha(static_cast<T>(u.alpha)),
        rest(static_cast<T>(1 - u.alpha)),
        eps(static_cast<T>(u.eps)),
        decay(static_cast<T>(u.weight_decay)),
        momentum(static_cast<T>(u.momentum)) {}
  // state: s, then a if centered, then b with momentum.
  template <class... State>
  TESSERA_HD void operator()(T& x, T g, T& s, State&... state) const {
    static_assert(sizeof...(State) == (kCentered ? 1 : 0) + (kMomentum ? 1 : 0));
    const T d = g + decay * x;
    T second = s = alpha * s + rest * d * d;
    if constexpr (kCentered) second = centre(second, d, state...);
    const T update = d / (std::sqrt(second) + eps);
    if constexpr (kMomentum)
      x -= lr * accumulate(update, state...);
    else
      x -= lr * update;
  }

 private:
  template <class... State>
  TESSERA_HD T centre(T second, T d, T& a, State&...) const {
    a += rest * (d - a);
    return second - a * a;
  }
  TESSERA_HD T accumulate(T update, T& b) const { return b = momentum * b + update; }
  TESSERA_HD T accumulate(T update, T&, T& b) const { return accumulate(update, b); }
};

/// run(step, state lists...) of the variant that the lists ask for.
template <class T, class Run>
void with_rmsprop_step(const RmspropUpdate& u, const Tensors& s, const Tensors& a, const Tensors& b,
                       Run&& run) {
  if (a.empty() && b.empty()) return run(RmspropStep<T, false, false>(u), s);
  if (b.empty()) return run(RmspropStep<T, true, false>(u), s, a);
  if (a.empty()) return run(RmspropStep<T, false, true>(u), s, b);
  run(RmspropStep<T, true, true>(u), s, a, b);
}

}  // namespace tessera::math

#pragma once

#include <limits>

#include "ops/pointwise/bias_act.h"
#include "ops/pointwise/elementary.h"

/// Formulas of bias_act, shared by the CPU loops and the CUDA kernels. C is float or double.
namespace tessera::math {

template <class C>
struct BiasActScalars {
  C alpha, gain, per_gain;  // per_gain: 1 / gain
  C scale;                  // of the derivative: gain^(2 - order), or gain for swish
  C clamp, cut;  // without a clamp infinity and NaN: comparisons that cut nothing, and no branch
  int order;

  explicit BiasActScalars(const BiasActArgs& args)
      : alpha(static_cast<C>(args.alpha)),
        gain(static_cast<C>(args.gain)),
        per_gain(static_cast<C>(1 / args.gain)),
        scale(static_cast<C>(args.gain)),
        clamp(args.clamped ? static_cast<C>(args.clamp) : std::numeric_limits<C>::infinity()),
        cut(args.clamped ? clamp : std::numeric_limits<C>::quiet_NaN()),
        order(args.order) {
    if (args.act == Act::swish) return;
    for (int n = 1; n < order; ++n) scale *= per_gain;
  }
};

inline constexpr double kSeluScale = 1.0507009873554804934;
inline constexpr double kSeluShift = kSeluScale * 1.6732632423543772848;

/// act(x).
template <Act kAct, class C>
TESSERA_HD C act_value(C x, [[maybe_unused]] C alpha) {
  if constexpr (kAct == Act::linear) return x;
  if constexpr (kAct == Act::relu) return x <= C(0) ? C(0) : x;
  if constexpr (kAct == Act::lrelu) return x > C(0) ? x : x * alpha;
  if constexpr (kAct == Act::tanh) return tanh(x);
  if constexpr (kAct == Act::sigmoid) return sigmoid(x);
  if constexpr (kAct == Act::elu || kAct == Act::selu) {
    const C below = expm1(x > C(0) ? C(0) : x);
    if constexpr (kAct == Act::elu) return x > C(0) ? x : below;
    return x > C(0) ? C(kSeluScale) * x : C(kSeluShift) * below;
  }
  if constexpr (kAct == Act::softplus) return softplus(x);
  if constexpr (kAct == Act::swish) return x * sigmoid(x);
}

/// The (order - 1)th derivative by v of act'(x) written as a function of v = act(x); for swish,
/// which is not monotonic, the order-th derivative (1 or 2) of act at v = x.
template <Act kAct, class C>
TESSERA_HD C act_derivative(int order, [[maybe_unused]] C v, [[maybe_unused]] C alpha) {
  const bool first = order == 1;
  if constexpr (kAct == Act::linear) return first ? C(1) : C(0);
  if constexpr (kAct == Act::relu) return first ? (v <= C(0) ? C(0) : C(1)) : C(0);
  if constexpr (kAct == Act::lrelu) return first ? (v > C(0) ? C(1) : alpha) : C(0);
  if constexpr (kAct == Act::tanh) {
    if (first) return C(1) - v * v;
    return order == 2 ? C(-2) * v : (order == 3 ? C(-2) : C(0));
  }
  if constexpr (kAct == Act::sigmoid) {
    if (first) return v * (C(1) - v);
    return order == 2 ? C(1) - C(2) * v : (order == 3 ? C(-2) : C(0));
  }
  if constexpr (kAct == Act::elu || kAct == Act::selu) {
    constexpr bool kElu = kAct == Act::elu;
    if (first) return v >= C(0) ? C(kElu ? 1 : kSeluScale) : v + C(kElu ? 1 : kSeluShift);
    return order == 2 && v < C(0) ? C(1) : C(0);
  }
  if constexpr (kAct == Act::softplus) {  // act' = 1 - e^-v
    if (first) return -expm1(-v);
    return order % 2 == 0 ? exp(-v) : -exp(-v);
  }
  if constexpr (kAct == Act::swish) {
    const C s = sigmoid(v);
    if (first) return s * (C(1) + v * (C(1) - s));
    return s * (C(1) - s) * (C(2) + v * (C(1) - C(2) * s));
  }
}

/// Whether that derivative is zero everywhere.
constexpr bool act_derivative_vanishes(Act act, int order) {
  switch (act) {
    case Act::linear:
    case Act::relu:
    case Act::lrelu:
      return order >= 2;
    case Act::elu:
    case Act::selu:
      return order >= 3;
    case Act::tanh:
    case Act::sigmoid:
      return order >= 4;
    default:
      return false;
  }
}

template <Act kAct, class C>
struct BiasAct {
  BiasActScalars<C> s;
  TESSERA_HD C operator()(C x) const {
    const C y = act_value<kAct>(x, s.alpha) * s.gain;
    const C low = y < -s.clamp ? -s.clamp : y;
    return low > s.clamp ? s.clamp : low;
  }
  TESSERA_HD C operator()(C x, C bias) const { return (*this)(x + bias); }
};

template <Act kAct, class C>
struct BiasActGrad {
  BiasActScalars<C> s;
  TESSERA_HD C operator()(C g, C saved) const {
    constexpr bool kFromInput = kAct == Act::swish;
    const C v = kFromInput ? saved : saved * s.per_gain;
    const C d = g * (act_derivative<kAct>(s.order, v, s.alpha) * s.scale);
    if constexpr (kAct == Act::linear) return d;
    const C y = kFromInput ? act_value<kAct>(v, s.alpha) * s.gain : saved;
    return abs(y) >= s.cut ? C(0) : d;
  }
  TESSERA_HD C operator()(C g, C saved, C bias) const { return (*this)(g, saved + bias); }
};

/// Calls body.operator()<act>(), act being a constant then.
template <class Body>
void dispatch_act(Act act, Body&& body) {
  switch (act) {
    case Act::linear:
      return body.template operator()<Act::linear>();
    case Act::relu:
      return body.template operator()<Act::relu>();
    case Act::lrelu:
      return body.template operator()<Act::lrelu>();
    case Act::tanh:
      return body.template operator()<Act::tanh>();
    case Act::sigmoid:
      return body.template operator()<Act::sigmoid>();
    case Act::elu:
      return body.template operator()<Act::elu>();
    case Act::selu:
      return body.template operator()<Act::selu>();
    case Act::softplus:
      return body.template operator()<Act::softplus>();
    case Act::swish:
      return body.template operator()<Act::swish>();
  }
}

}  // namespace tessera::math

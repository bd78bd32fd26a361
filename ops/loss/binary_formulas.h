#pragma once

#include "ops/pointwise/elementary.h"

/// The formulas of ops/loss/binary.h for the CPU loops and the CUDA kernels: logit x or probability
/// p, target t, weight w of the positives, slope g of what follows.
namespace tessera::math {

struct BceWithLogits {
  template <class C>
  TESSERA_HD C operator()(C x, C t, C w) const {
    // softplus(-x) and softplus(x): what they share has no sign
    const C size = abs(x), rest = softplus(-size);
    const C yes = (x < C(0) ? size : C(0)) + rest, no = (x < C(0) ? C(0) : x) + rest;
    return w * t * yes + (C(1) - t) * no;
  }
};

struct BceWithLogitsGrad {
  template <class C>
  TESSERA_HD C operator()(C g, C x, C t, C w) const {
    const C e = exp(-abs(x)), scale = C(1) / (C(1) + e);
    const C yes = (x < C(0) ? e : C(1)) * scale, no = (x < C(0) ? C(1) : e) * scale;
    return g * ((C(1) - t) * yes - w * t * no);
  }
};

struct Bce {
  template <class C>
  TESSERA_HD C operator()(C p, C t) const {
    const C yes = log(p), no = log1p(-p), floor = C(-100);
    return -(t * (yes < floor ? floor : yes) + (C(1) - t) * (no < floor ? floor : no));
  }
};

/// NaN counts as one.
template <class C>
TESSERA_HD bool is_probability(C p) {
  return !(p < C(0) || p > C(1));
}

}  // namespace tessera::math

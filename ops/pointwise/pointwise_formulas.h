#pragma once

#include "ops/pointwise/elementary.h"

/// Unary formulas shared by the CPU loops and the CUDA kernels. Each has
///   value(x, args)       y
///   grad(g, s, args)     g * dy/dx, where s is the input x, or the output y for the formulas that
///                        say so ("grad from y"); the operator keeps only that one
/// for T = float or double. Ties and kinks follow torch; NaN passes through.
namespace tessera::math {

/// Attributes of a formula; what a and b mean is said beside each.
template <class T>
struct Args {
  T a, b;
};

#define TESSERA_VALUE \
  template <class T>  \
  TESSERA_HD static T value(T x, [[maybe_unused]] Args<T> args)
#define TESSERA_GRAD \
  template <class T> \
  TESSERA_HD static T grad(T g, [[maybe_unused]] T s, [[maybe_unused]] Args<T> args)

struct Exp {  // grad from y
  TESSERA_VALUE { return exp(x); }
  TESSERA_GRAD { return g * s; }
};
struct Expm1 {  // grad from y
  TESSERA_VALUE { return expm1(x); }
  TESSERA_GRAD { return g * (s + T(1)); }
};
struct Log {
  TESSERA_VALUE { return log(x); }
  TESSERA_GRAD { return g / s; }
};
struct Log1p {
  TESSERA_VALUE { return log1p(x); }
  TESSERA_GRAD { return g / (s + T(1)); }
};
struct Sqrt {  // grad from y
  TESSERA_VALUE { return sqrt(x); }
  TESSERA_GRAD { return T(0.5) * g / s; }
};
struct Rsqrt {  // grad from y
  TESSERA_VALUE { return T(1) / sqrt(x); }
  TESSERA_GRAD { return T(-0.5) * g * (s * s * s); }
};
struct Square {
  TESSERA_VALUE { return x * x; }
  TESSERA_GRAD { return T(2) * g * s; }
};
struct Abs {
  TESSERA_VALUE { return abs(x); }
  TESSERA_GRAD { return s > T(0) ? g : (s < T(0) ? -g : g * s); }
};
struct Sin {
  TESSERA_VALUE { return sin(x); }
  TESSERA_GRAD { return g * cos(s); }
};
struct Cos {
  TESSERA_VALUE { return cos(x); }
  TESSERA_GRAD { return -g * sin(s); }
};
struct Asin {
  TESSERA_VALUE { return std::asin(x); }
  TESSERA_GRAD { return g / sqrt(T(1) - s * s); }
};
struct Acos {
  TESSERA_VALUE { return std::acos(x); }
  TESSERA_GRAD { return -g / sqrt(T(1) - s * s); }
};
struct Atan {
  TESSERA_VALUE { return std::atan(x); }
  TESSERA_GRAD { return g / (T(1) + s * s); }
};
struct Tanh {  // grad from y
  TESSERA_VALUE { return tanh(x); }
  TESSERA_GRAD { return g * (T(1) - s * s); }
};
struct Sigmoid {  // grad from y
  TESSERA_VALUE { return sigmoid(x); }
  TESSERA_GRAD { return g * (s * (T(1) - s)); }
};
struct LogSigmoid {
  TESSERA_VALUE { return -softplus(-x); }
  TESSERA_GRAD { return g * sigmoid(-s); }
};
struct Erf {
  TESSERA_VALUE { return erf(x); }
  TESSERA_GRAD { return g * (T(1.1283791670955126) * exp(-s * s)); }
};

/// Clamp to [a, b]; gradient 1 inside and on the bounds.
struct Clamp {
  TESSERA_VALUE {
    const T low = x < args.a ? args.a : x;
    return low > args.b ? args.b : low;
  }
  TESSERA_GRAD { return s >= args.a && s <= args.b ? g : T(0); }
};
/// Clamp to [a, b]; gradient 0 on the bounds (relu6, hardtanh).
struct Hardtanh {
  TESSERA_VALUE { return Clamp::value(x, args); }
  TESSERA_GRAD { return s <= args.a || s >= args.b ? T(0) : g; }
};
struct Relu {  // grad from y
  TESSERA_VALUE { return x <= T(0) ? T(0) : x; }
  TESSERA_GRAD { return s <= T(0) ? T(0) : g; }
};
struct LeakyRelu {  // a: slope
  TESSERA_VALUE { return x > T(0) ? x : x * args.a; }
  TESSERA_GRAD { return s > T(0) ? g : g * args.a; }
};
struct Elu {  // a: alpha
  TESSERA_VALUE {
    const T below = args.a * expm1(x > T(0) ? T(0) : x);
    return x > T(0) ? x : below;
  }
  TESSERA_GRAD {
    const T below = g * (args.a * exp(s > T(0) ? T(0) : s));
    return s > T(0) ? g : below;
  }
};
struct Silu {
  TESSERA_VALUE { return x * sigmoid(x); }
  TESSERA_GRAD {
    const T e = sigmoid(s);
    return g * (e * (T(1) + s * (T(1) - e)));
  }
};
struct Gelu {  // x * Phi(x)
  TESSERA_VALUE { return x * (T(0.5) + T(0.5) * erf(x * T(0.70710678118654752))); }
  TESSERA_GRAD {
    const T e = exp(T(-0.5) * s * s), phi = T(0.39894228040143268) * e;
    return g * (T(0.5) + T(0.5) * erf_given(s * T(0.70710678118654752), e) + s * phi);
  }
};
struct GeluTanh {  // x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
  TESSERA_VALUE {
    const T u = T(0.79788456080286536) * x * (T(1) + T(0.044715) * x * x);
    return T(0.5) * x * (T(1) + tanh(u));
  }
  TESSERA_GRAD {
    const T u = T(0.79788456080286536) * s * (T(1) + T(0.044715) * s * s);
    const T du = T(0.79788456080286536) * (T(1) + T(3 * 0.044715) * s * s);
    const T t = tanh(u);
    return g * (T(0.5) * (T(1) + t) + T(0.5) * s * (T(1) - t * t) * du);
  }
};
struct Softplus {  // a: beta, b: threshold, above which (beta * x) it is the identity
  TESSERA_VALUE {
    const T y = softplus(x * args.a) * (T(1) / args.a);
    return x * args.a > args.b ? x : y;
  }
  TESSERA_GRAD {
    const T below = g * sigmoid(s * args.a);
    return s * args.a > args.b ? g : below;
  }
};
// With e = e^x and n = e (e + 2), tanh(softplus(x)) = n / (n + 2); 1 from x = 20 on.
struct Mish {  // x tanh(softplus(x))
  TESSERA_VALUE {
    const T e = exp(x > T(20) ? T(20) : x), n = e * (e + T(2));
    return x * (n / (n + T(2)));
  }
  TESSERA_GRAD {
    const T x = s > T(20) ? T(20) : s, e = exp(x), n = e * (e + T(2)), m = n + T(2);
    return g * ((n * m + T(4) * x * (e * (e + T(1)))) / (m * m));
  }
};
struct Hardswish {  // x relu6(x + 3) / 6
  TESSERA_VALUE {
    const T inside = x * (x + T(3)) * T(1.0 / 6);
    return x <= T(-3) ? T(0) : (x >= T(3) ? x : inside);
  }
  TESSERA_GRAD {
    const T inside = g * (s * T(1.0 / 3) + T(0.5));
    return s <= T(-3) ? T(0) : (s >= T(3) ? g : inside);
  }
};
struct Hardsigmoid {  // relu6(x + 3) / 6
  TESSERA_VALUE { return Clamp::value(x * T(1.0 / 6) + T(0.5), Args<T>{T(0), T(1)}); }
  TESSERA_GRAD { return s <= T(-3) || s >= T(3) ? T(0) : g * T(1.0 / 6); }
};

/// x^2 / 2 inside [-a, a], a (|x| - a / 2) outside.
struct Huber {
  TESSERA_VALUE {
    const T size = abs(x), outside = args.a * (size - T(0.5) * args.a);
    return size < args.a ? T(0.5) * x * x : outside;
  }
  TESSERA_GRAD { return g * Clamp::value(s, Args<T>{-args.a, args.a}); }
};

struct Sign {  // NaN stays NaN
  TESSERA_VALUE { return x > T(0) ? T(1) : (x < T(0) ? T(-1) : x); }
};
struct Floor {
  TESSERA_VALUE { return std::floor(x); }
};
struct Ceil {
  TESSERA_VALUE { return std::ceil(x); }
};
struct Round {  // halves to even
  TESSERA_VALUE { return std::rint(x); }
};

#undef TESSERA_VALUE
#undef TESSERA_GRAD

/// The smaller / larger of two; NaN if either is.
struct Minimum {
  template <class T>
  TESSERA_HD T operator()(T a, T b) const {
    return a < b || a != a ? a : b;
  }
};
struct Maximum {
  template <class T>
  TESSERA_HD T operator()(T a, T b) const {
    return a > b || a != a ? a : b;
  }
};
/// The part of the gradient of Maximum that a gets.
struct ShareOfLarger {
  template <class T>
  TESSERA_HD T operator()(T a, T b) const {
    return a > b ? T(1) : (a == b ? T(0.5) : T(0));
  }
};

}  // namespace tessera::math

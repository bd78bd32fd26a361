#include "ops/pointwise/trigonometric.h"

#include <algorithm>

#include "ops/pointwise/pointwise_op.h"
#include "ops/pointwise/power.h"

namespace tessera {
namespace {

struct SinRule : detail::PointwiseRule<kernel::sin, kernel::sin_grad, detail::From::input> {
  Tensor second(const Tensor& gg, const Tensor& x) const { return -(gg * tessera::sin(x)); }
};

struct CosRule : detail::PointwiseRule<kernel::cos, kernel::cos_grad, detail::From::input> {
  Tensor second(const Tensor& gg, const Tensor& x) const { return -(gg * tessera::cos(x)); }
};

struct AsinRule : detail::PointwiseRule<kernel::asin, kernel::asin_grad, detail::From::input> {
  Tensor second(const Tensor& gg, const Tensor& x) const { return gg * x * pow(1.0 - x * x, -1.5); }
};

struct AcosRule : detail::PointwiseRule<kernel::acos, kernel::acos_grad, detail::From::input> {
  Tensor second(const Tensor& gg, const Tensor& x) const {
    return -(gg * x * pow(1.0 - x * x, -1.5));
  }
};

struct AtanRule : detail::PointwiseRule<kernel::atan, kernel::atan_grad, detail::From::input> {
  Tensor second(const Tensor& gg, const Tensor& x) const {
    const Tensor r = reciprocal(x * x + 1.0);
    return gg * x * (r * r) * -2.0;
  }
};

// The float polynomials serve |x| < kSinCosLimit; blocks with anything beyond go through float64.
// T is stored in 32 bits or less, y is contiguous.
template <class T, class Formula, class... X>
void wide_range_cpu(Tensor& y, const Formula& formula, const Tensor& x, const X&... more) {
  constexpr int64_t kBlock = 1024;
  const Tensor angles = view::contiguous(x);
  const T* in = angles.data<T>();
  T* out = y.data<T>();
  const std::array<Tensor, sizeof...(X)> others{view::contiguous(more)...};
  const T* g = nullptr;
  if constexpr (sizeof...(X) == 1) g = others[0].template data<T>();
  parallel_for(0, y.numel(), 16 * kBlock, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b += kBlock) {
      const int64_t count = std::min(kBlock, end - b);
      int outside = 0;
      for (int64_t i = 0; i < count; ++i)
        outside |= !(math::abs(static_cast<float>(in[b + i])) < math::kSinCosLimit);
      const auto run = [&]<class C>() {
        for (int64_t i = b; i < b + count; ++i) {
          const C angle = static_cast<C>(static_cast<float>(in[i]));
          if constexpr (sizeof...(X) == 1)
            out[i] =
                T(static_cast<float>(formula(static_cast<C>(static_cast<float>(g[i])), angle)));
          else
            out[i] = T(static_cast<float>(formula(angle)));
        }
      };
      outside ? run.template operator()<double>() : run.template operator()<float>();
    }
  });
}

template <class F>
void sin_cos_cpu(const Tensor& x, PointwiseArgs args, Tensor& y) {
  if (y.dtype() == DType::f64) return detail::pointwise_cpu<F>(x, args, y);
  dispatch<float, Half, BFloat16>(y.dtype(), "sin", [&]<class T>() {
    wide_range_cpu<T>(
        y, []<class C>(C v) { return F::value(v, math::Args<C>{}); }, x);
  });
}

template <class F>
void sin_cos_grad_cpu(const Tensor& g, const Tensor& x, PointwiseArgs args, Tensor& gx) {
  if (gx.dtype() == DType::f64) return detail::pointwise_grad_cpu<F>(g, x, args, gx);
  dispatch<float, Half, BFloat16>(gx.dtype(), "sin_grad", [&]<class T>() {
    wide_range_cpu<T>(
        gx, []<class C>(C u, C v) { return F::grad(u, v, math::Args<C>{}); }, x, g);
  });
}

}  // namespace

constinit PointwiseSlot kernel::sin{"sin"};
constinit PointwiseGradSlot kernel::sin_grad{"sin_grad"};
constinit PointwiseSlot kernel::cos{"cos"};
constinit PointwiseGradSlot kernel::cos_grad{"cos_grad"};
TESSERA_POINTWISE(asin, math::Asin);
TESSERA_POINTWISE(acos, math::Acos);
TESSERA_POINTWISE(atan, math::Atan);
TESSERA_KERNEL(sin, cpu, sin_cos_cpu<math::Sin>);
TESSERA_KERNEL(sin_grad, cpu, sin_cos_grad_cpu<math::Sin>);
TESSERA_KERNEL(cos, cpu, sin_cos_cpu<math::Cos>);
TESSERA_KERNEL(cos_grad, cpu, sin_cos_grad_cpu<math::Cos>);

Tensor sin(const Tensor& x) { return detail::pointwise<SinRule>(x); }
Tensor cos(const Tensor& x) { return detail::pointwise<CosRule>(x); }
Tensor asin(const Tensor& x) { return detail::pointwise<AsinRule>(x); }
Tensor acos(const Tensor& x) { return detail::pointwise<AcosRule>(x); }
Tensor atan(const Tensor& x) { return detail::pointwise<AtanRule>(x); }

}  // namespace tessera

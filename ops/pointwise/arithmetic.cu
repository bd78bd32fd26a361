#include "ops/pointwise/arithmetic.h"

#include "cuda/map.cuh"
#include "ops/pointwise/formulas.h"

namespace tessera {
namespace {

template <class Formula>
void binary_cuda(const Tensor& a, const Tensor& b, Tensor& y) {
  dispatch_number(y.dtype(), "arithmetic",
                  [&]<class T>() { cuda::map<T, T, T>(y, Formula{}, a, b); });
}

// A GPU does not trap: the divisor is looked at on the host, which waits for it.
void div_cuda(const Tensor& a, const Tensor& b, Tensor& y) {
  if (!is_floating(b.dtype()))
    for (int64_t v : b.to_vector<int64_t>())
      TESSERA_CHECK(ValueError, v != 0, "div: integer division by zero");
  binary_cuda<math::Div>(a, b, y);
}

void affine_cuda(const Tensor& x, double scale, double shift, Tensor& y) {
  dispatch_number(y.dtype(), "affine", [&]<class T>() {
    using C = compute_t<T>;
    cuda::map<T, T>(y, math::Affine<C>{math::scalar_as<C>(scale), math::scalar_as<C>(shift)}, x);
  });
}

void reciprocal_cuda(const Tensor& x, double scale, Tensor& y) {
  dispatch_floating(y.dtype(), "reciprocal", [&]<class T>() {
    using C = compute_t<T>;
    cuda::map<T, T>(y, math::Reciprocal<C>{static_cast<C>(scale)}, x);
  });
}

void axpby_cuda(Tensor& a, double alpha_a, const Tensor& b, double alpha_b) {
  dispatch_number(a.dtype(), "axpby", [&]<class T>() {
    using C = compute_t<T>;
    const C p = math::scalar_as<C>(alpha_a), q = math::scalar_as<C>(alpha_b);
    if (p == C(1) && q == C(1)) return cuda::map<T, T, T>(a, math::Add{}, a, b);
    cuda::map<T, T, T>(a, math::Axpby<C>{p, q}, a, b);
  });
}

TESSERA_KERNEL(add, cuda, binary_cuda<math::Add>);
TESSERA_KERNEL(sub, cuda, binary_cuda<math::Sub>);
TESSERA_KERNEL(mul, cuda, binary_cuda<math::Mul>);
TESSERA_KERNEL(div, cuda, div_cuda);
TESSERA_KERNEL(affine, cuda, affine_cuda);
TESSERA_KERNEL(reciprocal, cuda, reciprocal_cuda);
TESSERA_KERNEL(axpby, cuda, axpby_cuda);

}  // namespace
}  // namespace tessera

#pragma once

#include "cuda/map.cuh"
#include "ops/pointwise/pointwise_formulas.h"
#include "ops/pointwise/pointwise_slots.h"

/// For .cu files: the CUDA kernels of a unary function from its formula, as
/// ops/pointwise/pointwise_op.h makes those of the CPU:
///
///   TESSERA_POINTWISE_CUDA(tanh, math::Tanh);
namespace tessera::detail {

template <class Formula, class C>
struct PointwiseValue {
  math::Args<C> args;
  TESSERA_HD C operator()(C x) const { return Formula::value(x, args); }
};
template <class Formula, class C>
struct PointwiseGrad {
  math::Args<C> args;
  TESSERA_HD C operator()(C g, C saved) const { return Formula::grad(g, saved, args); }
};

template <class Formula>
void pointwise_cuda(const Tensor& x, PointwiseArgs args, Tensor& y) {
  dispatch_floating(y.dtype(), "pointwise", [&]<class T>() {
    using C = compute_t<T>;
    cuda::map<T, T>(y, PointwiseValue<Formula, C>{{static_cast<C>(args.a), static_cast<C>(args.b)}},
                    x);
  });
}

template <class Formula>
void pointwise_grad_cuda(const Tensor& g, const Tensor& saved, PointwiseArgs args, Tensor& gx) {
  dispatch_floating(gx.dtype(), "pointwise", [&]<class T>() {
    using C = compute_t<T>;
    cuda::map<T, T, T>(
        gx, PointwiseGrad<Formula, C>{{static_cast<C>(args.a), static_cast<C>(args.b)}}, g, saved);
  });
}

}  // namespace tessera::detail

#define TESSERA_POINTWISE_CUDA(op, Formula)                             \
  TESSERA_KERNEL(op, cuda, ::tessera::detail::pointwise_cuda<Formula>); \
  TESSERA_KERNEL(op##_grad, cuda, ::tessera::detail::pointwise_grad_cuda<Formula>)

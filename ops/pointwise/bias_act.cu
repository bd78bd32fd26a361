#include "ops/pointwise/bias_act.h"

#include "cuda/map.cuh"
#include "ops/pointwise/bias_act_formulas.h"

namespace tessera {
namespace {

// One kernel for every activation: the loops wait for memory, and a branch that a whole launch
// takes alike costs nothing beside that.
#define TESSERA_CALL_ACT(Formula, ...)                              \
  switch (act) {                                                    \
    case Act::linear:                                               \
      return math::Formula<Act::linear, C>{scalars}(__VA_ARGS__);   \
    case Act::relu:                                                 \
      return math::Formula<Act::relu, C>{scalars}(__VA_ARGS__);     \
    case Act::lrelu:                                                \
      return math::Formula<Act::lrelu, C>{scalars}(__VA_ARGS__);    \
    case Act::tanh:                                                 \
      return math::Formula<Act::tanh, C>{scalars}(__VA_ARGS__);     \
    case Act::sigmoid:                                              \
      return math::Formula<Act::sigmoid, C>{scalars}(__VA_ARGS__);  \
    case Act::elu:                                                  \
      return math::Formula<Act::elu, C>{scalars}(__VA_ARGS__);      \
    case Act::selu:                                                 \
      return math::Formula<Act::selu, C>{scalars}(__VA_ARGS__);     \
    case Act::softplus:                                             \
      return math::Formula<Act::softplus, C>{scalars}(__VA_ARGS__); \
    default:                                                        \
      return math::Formula<Act::swish, C>{scalars}(__VA_ARGS__);    \
  }

template <class C>
struct Value {
  Act act;
  math::BiasActScalars<C> scalars;
  TESSERA_HD C operator()(C x) const {TESSERA_CALL_ACT(BiasAct, x)} TESSERA_HD C operator()(
      C x, C bias) const {
    return (*this)(x + bias);
  }
};

template <class C>
struct Derivative {
  Act act;
  math::BiasActScalars<C> scalars;
  TESSERA_HD C operator()(C g, C saved) const {TESSERA_CALL_ACT(BiasActGrad, g, saved)} TESSERA_HD C
  operator()(C g, C saved, C bias) const {
    return (*this)(g, saved + bias);
  }
};

#undef TESSERA_CALL_ACT

void bias_act_cuda(const Tensor& x, const Tensor& bias, const BiasActArgs& args, Tensor& y) {
  dispatch_floating(y.dtype(), "bias_act", [&]<class T>() {
    using C = compute_t<T>;
    const Value<C> f{args.act, math::BiasActScalars<C>(args)};
    if (bias.defined())
      cuda::map<T, T, T>(y, f, x, bias);
    else
      cuda::map<T, T>(y, f, x);
  });
}

void bias_act_grad_cuda(const Tensor& g, const Tensor& saved, const Tensor& bias,
                        const BiasActArgs& args, Tensor& gx) {
  dispatch_floating(gx.dtype(), "bias_act_grad", [&]<class T>() {
    using C = compute_t<T>;
    const Derivative<C> f{args.act, math::BiasActScalars<C>(args)};
    if (bias.defined())
      cuda::map<T, T, T, T>(gx, f, g, saved, bias);
    else
      cuda::map<T, T, T>(gx, f, g, saved);
  });
}

TESSERA_KERNEL(bias_act, cuda, bias_act_cuda);
TESSERA_KERNEL(bias_act_grad, cuda, bias_act_grad_cuda);

}  // namespace
}  // namespace tessera

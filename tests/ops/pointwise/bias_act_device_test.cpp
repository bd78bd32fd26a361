// bias_act on a GPU in the half types, on channels that fill vectors and that do not, and over more
// than one block.

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/engine.h"
#include "ops/pointwise/bias_act.h"
#include "tensor/cuda_plugin.h"
#include "tensor/view.h"
#include "tests/ops/op_case.h"

namespace tessera::testing {
namespace {

constexpr Device kGpu{DeviceType::cuda, 0};

class BiasActDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  }
};

Tensor values(const std::string& name, const Shape& shape, DType dtype) {
  return view::to(from_vector(hash_uniform(name, numel(shape), -3, 3), shape), dtype);
}

/// Output and gradient in x on one device.
Tensors evaluate(const Tensor& x, const Tensor& bias, const Tensor& g, const BiasActOptions& o,
                 Device device) {
  Tensor leaf = view::to(x, device).detach();
  leaf.set_requires_grad(true);
  const Tensor y = bias_act(leaf, view::to(bias, device), o);
  return {y, grad({y}, {leaf}, {view::to(g, device)})[0]};
}

TEST_F(BiasActDevice, DTypesAndShapes) {
  for (const Shape& shape : {Shape{3, 5, 7, 24}, Shape{40, 13}})
    for (DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16})
      for (Act act : {Act::linear, Act::relu, Act::lrelu, Act::tanh, Act::sigmoid, Act::elu,
                      Act::selu, Act::softplus, Act::swish}) {
        const Tensor x = values("x", shape, dtype), bias = values("b", {shape.back()}, dtype);
        const Tensor g = values("g", shape, dtype);
        const BiasActOptions o{.act = act, .clamp = 2.5};
        const Tensors want = evaluate(x, bias, g, o, kCpu), got = evaluate(x, bias, g, o, kGpu);
        // One step of the dtype: the compilers may round differently before the last rounding.
        const double step = dtype == DType::f64   ? 1e-14
                            : dtype == DType::f32 ? 2e-6
                            : dtype == DType::f16 ? 1e-3
                                                  : 8e-3;
        for (size_t t = 0; t < 2; ++t) {
          ASSERT_EQ(got[t].device(), kGpu);
          ASSERT_EQ(got[t].dtype(), dtype);
          const std::vector<double> a = got[t].to_vector<double>(), b = want[t].to_vector<double>();
          for (size_t i = 0; i < a.size(); ++i)
            ASSERT_LE(std::abs(a[i] - b[i]), step * std::max(1.0, std::abs(b[i])))
                << dtype << " act " << static_cast<int>(act) << " result " << t << " element " << i;
        }
      }
}

}  // namespace
}  // namespace tessera::testing

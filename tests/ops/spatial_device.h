#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>

#include "autograd/engine.h"
#include "tensor/cuda_plugin.h"
#include "tensor/view.h"
#include "tests/common/hash_fill.h"

/// Runs a function on the CPU and on the GPU and compares what it returns.
namespace tessera::testing {

inline constexpr Device kGpu{DeviceType::cuda, 0};

class DeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  }
};

inline Tensor random_tensor(const std::string& name, const Shape& shape, DType dtype = DType::f32,
                            double lo = -1, double hi = 1) {
  return view::to(from_vector(hash_uniform(name, numel(shape), lo, hi), shape), dtype);
}

/// The same elements, one element behind an aligned address.
inline Tensor misaligned(const Tensor& x) {
  const Tensor block = empty({x.numel() + 1}, x.dtype(), x.device());
  Tensor y = view::reshape(view::slice(block, 0, 1, x.numel() + 1), x.shape());
  copy_(y, x);
  return y;
}

using Function = std::function<Tensors(const Tensors&)>;

/// fn's results and the gradients of their weighted sum in the floating inputs, on `device`.
inline Tensors results_on(Device device, const Tensors& inputs, const Function& fn, bool shifted) {
  Tensors there;
  for (const Tensor& t : inputs) {
    Tensor moved = view::to(view::clone(t), device);
    if (shifted) moved = misaligned(moved);
    if (is_floating(t.dtype())) moved.set_requires_grad(true);
    there.push_back(moved);
  }
  Tensors out = fn(there), roots, weights, targets;
  for (size_t i = 0; i < out.size(); ++i) {
    if (!out[i].requires_grad()) continue;
    roots.push_back(out[i]);
    weights.push_back(
        view::to(random_tensor(cat("weights", i), out[i].shape(), out[i].dtype()), device));
  }
  for (const Tensor& t : there)
    if (t.requires_grad()) targets.push_back(t);
  if (!roots.empty() && !targets.empty())
    for (const Tensor& g : grad(roots, targets, weights, {.allow_unused = true}))
      if (g.defined()) out.push_back(g);
  return out;
}

/// Results and first gradients agree within tolerance * the largest magnitude. Inputs
/// are tried where they are aligned and where they are not.
inline void expect_as_on_cpu(const Tensors& inputs, const Function& fn, double tolerance,
                             const std::string& what = "") {
  const Tensors want = results_on(kCpu, inputs, fn, false);
  for (bool shifted : {false, true}) {
    const Tensors got = results_on(kGpu, inputs, fn, shifted);
    ASSERT_EQ(got.size(), want.size()) << what;
    for (size_t t = 0; t < got.size(); ++t) {
      ASSERT_EQ(got[t].shape(), want[t].shape()) << what;
      ASSERT_EQ(got[t].dtype(), want[t].dtype()) << what;
      ASSERT_EQ(got[t].device(), kGpu) << what;
      const auto a = got[t].to_vector<double>(), b = want[t].to_vector<double>();
      double largest = 0;
      for (double v : b)
        if (std::isfinite(v)) largest = std::max(largest, std::abs(v));
      for (size_t i = 0; i < a.size(); ++i) {
        if (std::isnan(b[i]) ? std::isnan(a[i]) : a[i] == b[i]) continue;
        ASSERT_LE(std::abs(a[i] - b[i]), tolerance * largest)
            << what << (shifted ? ", misaligned" : "") << ": result " << t << " element " << i
            << ": got " << a[i] << ", on the CPU " << b[i];
      }
    }
  }
}

/// A few units of rounding of a dtype.
inline double rounding(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return 1e-13;
    case DType::f32:
      return 2e-6;
    case DType::f16:
      return 2e-3;
    default:
      return 1.6e-2;
  }
}

inline constexpr DType kFloating[] = {DType::f32, DType::f64, DType::f16, DType::bf16};

}  // namespace tessera::testing

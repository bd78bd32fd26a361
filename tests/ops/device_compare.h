#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <string>

#include "autograd/engine.h"
#include "tensor/cuda_plugin.h"
#include "tensor/view.h"
#include "tests/ops/op_case.h"

/// Pieces of the tests that hold a GPU's results against the CPU's.
namespace tessera::testing {

inline constexpr Device kTestGpu{DeviceType::cuda, 0};

/// Skips where there is no GPU.
class OnDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  }
};

inline Tensor on_gpu(const Tensor& x) { return x.defined() ? view::to(x, kTestGpu) : x; }

inline Tensor hashed(const std::string& name, const Shape& shape, DType dtype, double lo = -3,
                     double hi = 3) {
  return view::to(from_vector(hash_uniform(name, numel(shape), lo, hi), shape), dtype);
}

/// x on the GPU, contiguous, one element behind an aligned address.
inline Tensor misaligned(const Tensor& x) {
  const Tensor block = empty({x.numel() + 1}, x.dtype(), kTestGpu);
  Tensor inside = view::reshape(view::slice(block, 0, 1, x.numel() + 1), x.shape());
  copy_(inside, on_gpu(x));
  return inside;
}

/// Same device, shape and dtype, NaN where the other has it, infinities equal, and the rest within
/// `absolute` and `relative` of the largest finite value.
inline void expect_close(const Tensor& got, const Tensor& want, double relative,
                         const std::string& what, double absolute = 0) {
  ASSERT_EQ(got.device(), kTestGpu) << what;
  ASSERT_EQ(got.shape(), want.shape()) << what;
  ASSERT_EQ(got.dtype(), want.dtype()) << what;
  const std::vector<double> a = got.to_vector<double>(), b = want.to_vector<double>();
  double size = 0;
  for (double v : b)
    if (std::isfinite(v)) size = std::max(size, std::abs(v));
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(b[i]) ? std::isnan(a[i]) : a[i] == b[i]) continue;
    ASSERT_LE(std::abs(a[i] - b[i]), relative * size + absolute)
        << what << " element " << i << ": got " << a[i] << ", on the CPU " << b[i];
  }
}

/// Room for two results of `dtype` that are rounded from nearly the same value.
inline double rounding(DType dtype) {
  switch (dtype) {
    case DType::f16:
      return 1.0 / 1024;
    case DType::bf16:
      return 1.0 / 128;
    case DType::f32:
      return 1e-5;
    default:
      return 1e-12;
  }
}

/// The results of fn and the gradients of its inputs (weighted by a hash), on the GPU against the
/// CPU's. `place` brings an input to the GPU. Undefined inputs stay so.
inline void compare_on_device(const std::string& what, const Tensors& inputs, double relative,
                              const std::function<Tensor(const Tensors&)>& fn,
                              const std::function<Tensor(const Tensor&)>& place = on_gpu) {
  const auto evaluate = [&](bool gpu) {
    Tensors in, wanted;
    for (const Tensor& t : inputs) {
      Tensor leaf = !t.defined() ? t : gpu ? place(t) : view::clone(t);
      if (t.defined() && is_floating(t.dtype())) wanted.push_back(leaf.set_requires_grad(true));
      in.push_back(leaf);
    }
    Tensor y = fn(in);
    Tensor weights = hashed(what + "/w", y.shape(), y.dtype(), -1, 1);
    Tensors out = grad({y}, wanted, {gpu ? on_gpu(weights) : weights});
    out.insert(out.begin(), y);
    return out;
  };
  const Tensors got = evaluate(true), want = evaluate(false);
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i)
    expect_close(got[i], want[i], relative,
                 i == 0 ? what : what + ", gradient " + std::to_string(i - 1));
}

}  // namespace tessera::testing

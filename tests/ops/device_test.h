#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "tensor/cuda_plugin.h"
#include "tensor/view.h"
#include "tests/common/hash_fill.h"

/// For tests of the kernels of a GPU, or of the emulator, that the operators' cases do not reach.
namespace tessera::testing {

inline constexpr Device kGpu{DeviceType::cuda, 0};

/// Skips, with the reason, where there is no GPU.
class DeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  }
};

inline Tensor on_gpu(const Tensor& x) { return view::to(x, kGpu); }

/// Uniform in [lo, hi), the same for the same name.
inline Tensor hashed(const std::string& name, const Shape& shape, DType dtype, double lo = -1,
                     double hi = 1) {
  return view::to(from_vector(hash_uniform(name, numel(shape), lo, hi), shape), dtype);
}

/// n elements of `dtype` on the GPU that begin one element behind an aligned address.
inline Tensor misaligned(int64_t n, DType dtype) {
  return view::slice(zeros({n + 1}, dtype, kGpu), 0, 1, n + 1);
}
inline Tensor misaligned(const Tensor& x) {
  Tensor y = misaligned(x.numel(), x.dtype());
  copy_(y, on_gpu(view::reshape(view::contiguous(x), {x.numel()})));
  return y;
}

inline void expect_same_bits(const Tensor& got, const Tensor& want, const std::string& what) {
  ASSERT_EQ(got.device(), kGpu) << what;
  ASSERT_EQ(got.shape(), want.shape()) << what;
  ASSERT_EQ(got.dtype(), want.dtype()) << what;
  if (want.numel() == 0) return;
  const Tensor a = view::to(view::contiguous(got), kCpu),
               b = view::to(view::contiguous(want), kCpu);
  const auto *p = static_cast<const unsigned char*>(a.raw_data()),
             *q = static_cast<const unsigned char*>(b.raw_data());
  const int64_t size = size_of(b.dtype());
  for (int64_t i = 0; i < b.numel(); ++i)
    ASSERT_EQ(std::memcmp(p + i * size, q + i * size, static_cast<size_t>(size)), 0)
        << what << ": element " << i << " of " << b.numel() << ": got "
        << a.to_vector<double>()[static_cast<size_t>(i)] << ", want "
        << b.to_vector<double>()[static_cast<size_t>(i)];
}

/// |got - want| <= relative |want| + absolute; NaN, infinities and the sign of zero agree.
inline void expect_close(const Tensor& got, const Tensor& want, double relative, double absolute,
                         const std::string& what) {
  ASSERT_EQ(got.device(), kGpu) << what;
  ASSERT_EQ(got.shape(), want.shape()) << what;
  ASSERT_EQ(got.dtype(), want.dtype()) << what;
  const std::vector<double> a = got.to_vector<double>(), b = want.to_vector<double>();
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(b[i]) ? std::isnan(a[i])
                         : a[i] == b[i] && (b[i] != 0 || std::signbit(a[i]) == std::signbit(b[i])))
      continue;
    ASSERT_LE(std::abs(a[i] - b[i]), relative * std::abs(b[i]) + absolute)
        << what << ": element " << i << ": got " << a[i] << ", want " << b[i];
  }
}

/// The spacing of numbers near 1.
inline double epsilon(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return 0x1p-52;
    case DType::f32:
      return 0x1p-23;
    case DType::f16:
      return 0x1p-10;
    default:
      return 0x1p-7;
  }
}

}  // namespace tessera::testing

// The CUDA kernels of matrix products beyond what the operators' cases reach: every tile size,
// split sums, and operands that are transposed, strided or not aligned.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "ops/linalg/gemm.h"
#include "tensor/cuda_plugin.h"
#include "tests/ops/op_case.h"

namespace tessera::testing {
namespace {

constexpr Device kGpu{DeviceType::cuda, 0};

struct Size {
  int64_t batch, m, n, k;
};

enum class Layout { dense, transposed, strided, broadcast, shifted };

// (batch, rows, cols) in a layout, on the device of `values`.
Tensor arranged(const Tensor& values, Layout layout) {
  const int64_t batch = values.size(0), rows = values.size(1), cols = values.size(2);
  const auto filled = [&](Tensor view) {
    copy_(view, values);
    return view;
  };
  const auto block = [&](const Shape& shape) {
    return full(shape, NAN, values.dtype(), values.device());
  };
  switch (layout) {
    case Layout::transposed:
      return filled(view::transpose(block({batch, cols, rows}), 1, 2));
    case Layout::strided:
      return filled(view::slice(block({batch, rows, 2 * cols}), 2, 0, 2 * cols, 2));
    case Layout::broadcast:
      return view::broadcast_to(view::slice(values, 0, 0, 1), values.shape());
    case Layout::shifted:  // unit stride, rows that begin anywhere
      return filled(view::slice(block({batch, rows, cols + 3}), 2, 1, cols + 1));
    default:
      return values;
  }
}

double unit_of(DType dtype) {
  return dtype == DType::f64    ? 0x1p-53
         : dtype == DType::f16  ? 0x1p-11
         : dtype == DType::bf16 ? 0x1p-8
                                : 0x1p-24;
}

// kernel::gemm on the GPU against the plain kernel in f64. The error of a sum is a few units of the
// sum of its terms' sizes, in f32 for half types, and one rounding of the result.
void check(const Size& s, Layout layout_a, Layout layout_b, bool with_bias, DType dtype) {
  SCOPED_TRACE(cat(s.batch, " x (", s.m, ", ", s.k, ", ", s.n, ") ", dtype, " layouts ",
                   static_cast<int>(layout_a), static_cast<int>(layout_b)));
  const auto make = [&](const char* name, const Shape& shape) {
    return view::to(from_vector(hash_uniform(name, numel(shape)), shape), dtype);
  };
  const Tensor a = make("a", {s.batch, s.m, s.k}), b = make("b", {s.batch, s.k, s.n});
  const Tensor bias = with_bias ? make("bias", {s.n}) : Tensor();
  const auto on_gpu = [](const Tensor& t) { return t.defined() ? view::to(t, kGpu) : t; };
  const Tensor there_a = arranged(on_gpu(a), layout_a), there_b = arranged(on_gpu(b), layout_b);
  Tensor y = full({s.batch, s.m, s.n}, NAN, dtype, kGpu), again = full(y.shape(), 0, dtype, kGpu);
  kernel::gemm(kGpu, there_a, there_b, on_gpu(bias), y);
  kernel::gemm(kGpu, there_a, there_b, on_gpu(bias), again);
  const Tensor got = view::to(y, kCpu), twice = view::to(again, kCpu);
  EXPECT_EQ(std::memcmp(got.raw_data(), twice.raw_data(), static_cast<size_t>(got.nbytes())), 0);

  const auto wide = [](const Tensor& t, bool absolute) {
    std::vector<double> v = t.to_vector<double>();
    for (double& e : v) e = absolute ? std::abs(e) : e;
    return from_vector(v, t.shape());
  };
  const Tensor seen_a = view::to(view::contiguous(there_a), kCpu);
  const Tensor seen_b = view::to(view::contiguous(there_b), kCpu);
  Tensor want = empty(y.shape(), DType::f64), terms = empty(y.shape(), DType::f64);
  cpu::gemm_blocked(wide(seen_a, false), wide(seen_b, false),
                    with_bias ? wide(bias, false) : Tensor(), want);
  cpu::gemm_blocked(wide(seen_a, true), wide(seen_b, true), with_bias ? wide(bias, true) : Tensor(),
                    terms);
  const std::vector<double> result = got.to_vector<double>(), exact = want.to_vector<double>(),
                            size = terms.to_vector<double>();
  const double sum_unit = dtype == DType::f64 ? 0x1p-53 : 0x1p-24;
  for (size_t i = 0; i < exact.size(); ++i)
    ASSERT_NEAR(result[i], exact[i],
                8 * sum_unit * size[i] + 1.01 * unit_of(dtype) * std::abs(exact[i]))
        << "element " << i;
}

class GemmDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  }
};

TEST_F(GemmDevice, EveryLayoutInEveryType) {
  for (const Layout a :
       {Layout::dense, Layout::transposed, Layout::strided, Layout::broadcast, Layout::shifted})
    for (const Layout b :
         {Layout::dense, Layout::transposed, Layout::strided, Layout::broadcast, Layout::shifted})
      for (const DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16}) {
        check({2, 37, 45, 29}, a, b, true, dtype);
        check({1, 36, 44, 32}, a, b, false, dtype);
      }
}

// Sizes for tiles of side 64 and 128 (in f32), whole and with tails in all directions.
TEST_F(GemmDevice, LargeTiles) {
  for (const Layout a : {Layout::dense, Layout::transposed})
    for (const Layout b : {Layout::dense, Layout::transposed}) {
      check({40, 128, 128, 32}, a, b, false, DType::f32);
      check({40, 123, 118, 37}, a, b, true, DType::f32);
      check({40, 123, 118, 13}, a, b, true, DType::f64);
      check({1, 1408, 1536, 16}, a, b, true, DType::f32);
      check({1, 1501, 1433, 21}, a, b, false, DType::f32);
    }
}

TEST_F(GemmDevice, SplitSums) {
  for (const DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16}) {
    check({1, 5, 7, 2100}, Layout::dense, Layout::dense, true, dtype);
    check({3, 33, 64, 1030}, Layout::transposed, Layout::dense, false, dtype);
    check({1, 1, 300, 1537}, Layout::dense, Layout::transposed, true, dtype);
    check({1, 64, 1, 513}, Layout::dense, Layout::strided, true, dtype);
  }
}

TEST_F(GemmDevice, EmptySumsAreTheBias) {
  check({2, 3, 5, 0}, Layout::dense, Layout::dense, true, DType::f32);
  check({2, 3, 5, 0}, Layout::dense, Layout::dense, false, DType::f64);
}

}  // namespace
}  // namespace tessera::testing

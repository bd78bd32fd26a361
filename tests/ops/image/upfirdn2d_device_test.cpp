// What the cases of upfirdn2d do not reach on a GPU: several tiles along every axis with their
// tails, every specialised kernel and the one for filters too large for shared memory, vectors of
// all dtypes and views that forbid them.

#include <gtest/gtest.h>

#include <cmath>

#include "ops/image/upfirdn2d.h"
#include "tensor/cuda_plugin.h"
#include "tensor/view.h"
#include "tests/ops/op_case.h"

namespace tessera::testing {
namespace {

constexpr Device kGpu{DeviceType::cuda, 0};

class Upfirdn2dDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  }
};

Tensor values(const std::string& name, const Shape& shape, DType dtype) {
  return view::to(from_vector(hash_uniform(name, numel(shape), -1, 1), shape), dtype);
}

double tolerance(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return 1e-12;
    case DType::f32:
      return 1e-5;
    case DType::f16:
      return 2e-3;  // a step of the result's dtype
    default:
      return 1.6e-2;
  }
}

void expect_as_on_cpu(const Tensor& x, const Tensor& there, const Tensor& filter,
                      const Upfirdn2dOptions& o, const std::string& what) {
  const Tensor want = upfirdn2d(x, filter, o);
  const Tensor got = upfirdn2d(there, view::to(filter, kGpu), o);
  ASSERT_EQ(got.device(), kGpu) << what;
  ASSERT_EQ(got.shape(), want.shape()) << what;
  const std::vector<double> a = got.to_vector<double>(), b = want.to_vector<double>();
  for (size_t i = 0; i < a.size(); ++i)
    ASSERT_LE(std::abs(a[i] - b[i]), tolerance(x.dtype()) * std::max(1.0, std::abs(b[i])))
        << what << " element " << i << ": got " << a[i] << ", on the CPU " << b[i];
}

struct Row {
  const char* name;
  Shape filter;
  Upfirdn2dOptions options;
};
const Row kRows[] = {
    {"blur", {4, 4}, {.padding = {2, 1, 2, 1}, .gain = 4}},
    {"up 2", {4, 4}, {.up = 2, .padding = {2, 1, 2, 1}, .gain = 4}},
    {"down 2", {4, 4}, {.down = 2, .padding = {1, 1, 1, 1}}},
    {"up 2, down 2", {4, 4}, {.up = 2, .down = 2, .padding = {1, 2, 0, 3}, .flip_filter = true}},
    {"rows", {1, 6}, {.up = {1, 2}, .padding = {.left = 3, .right = 3}}},
    {"columns", {6, 1}, {.down = {2, 1}, .padding = {.top = 3, .bottom = -1}}},
    {"three", {3, 3}, {.padding = {1, 1, 1, 1}, .flip_filter = true}},
    {"up 3, down 5", {5, 4}, {.up = {3, 1}, .down = {1, 5}, .padding = {3, -2, 1, 5}}},
    {"separable", {12}, {.up = 2, .padding = {6, 5, 6, 5}, .gain = 4}},
};

TEST_F(Upfirdn2dDevice, TilesAndTails) {
  for (const Row& row : kRows)
    for (const Shape& shape : {Shape{2, 19, 37, 20}, Shape{1, 18, 21, 3}, Shape{1, 5, 33, 1}}) {
      const Tensor x = values(row.name, shape, DType::f32);
      expect_as_on_cpu(x, view::to(x, kGpu), values("filter", row.filter, DType::f32), row.options,
                       cat(row.name, ' ', shape));
    }
}

TEST_F(Upfirdn2dDevice, EveryDType) {
  for (const Row& row : kRows)
    for (DType dtype : {DType::f64, DType::f16, DType::bf16}) {
      const Tensor x = values(row.name, {1, 9, 18, 24}, dtype);
      expect_as_on_cpu(x, view::to(x, kGpu), values("filter", row.filter, DType::f32), row.options,
                       cat(row.name, ' ', dtype));
    }
}

TEST_F(Upfirdn2dDevice, FiltersTooLargeForTiles) {
  const Tensor x = values("large", {1, 30, 8, 5}, DType::f32);
  for (const Shape& filter : {Shape{120, 110}, Shape{200, 9}})
    expect_as_on_cpu(x, view::to(x, kGpu), values("large/filter", filter, DType::f32),
                     {.up = 2, .down = 3, .padding = {60, 61, 100, 75}}, cat(filter));
  expect_as_on_cpu(x, view::to(x, kGpu), values("far", {3, 3}, DType::f32),
                   {.up = 40, .down = 2000, .padding = {0, 4000, 4000, 7}}, "far apart");
}

// Storage that begins one element behind an aligned address.
TEST_F(Upfirdn2dDevice, MisalignedInput) {
  const Shape shape{1, 7, 9, 8};
  for (DType dtype : {DType::f32, DType::f16}) {
    const Tensor block = values("misaligned", {numel(shape) + 1}, dtype);
    const auto tail = [&](const Tensor& t) {
      return view::reshape(view::slice(t, 0, 1, numel(shape) + 1), shape);
    };
    expect_as_on_cpu(tail(block), tail(view::to(block, kGpu)), values("filter", {4, 4}, DType::f32),
                     {.padding = {2, 1, 2, 1}}, cat(dtype));
  }
}

}  // namespace
}  // namespace tessera::testing

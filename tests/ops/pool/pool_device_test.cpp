// Pooling on the GPU where the shared cases do not reach: vectors and what they leave over, half
// types, windows that blocks share, sizes that 32 bits cannot count.

#include "ops/pool/adaptive_pool.h"
#include "ops/pool/avg_pool.h"
#include "ops/pool/max_pool.h"
#include "tests/ops/spatial_device.h"

namespace tessera::testing {
namespace {

using PoolDevice = DeviceTest;

// The sums of the gradient have one order on both devices, so the bits are the same.
TEST_F(PoolDevice, MaxPoolOfEveryType) {
  for (DType dtype : kFloating)
    for (int64_t channels : {1, 4, 6, 8, 24, 33})
      expect_as_on_cpu(
          {random_tensor("max", {2, 9, 11, channels}, dtype)},
          [](const Tensors& in) {
            auto [y, index] =
                max_pool2d_with_indices(in[0], {.kernel = 3, .stride = 2, .padding = 1});
            return Tensors{y, index};
          },
          0, cat(dtype, " ", channels));
}

TEST_F(PoolDevice, MaxPoolOfNanAndInfinity) {
  Tensor x = random_tensor("nan", {1, 6, 6, 8});
  fill_(x, -INFINITY);
  Tensor some = view::slice(view::slice(x, 1, 2, 4), 3, 0, 3);
  fill_(some, NAN);
  expect_as_on_cpu(
      {x},
      [](const Tensors& in) {
        auto [y, index] = max_pool2d_with_indices(in[0].detach(), {.kernel = 3});
        return Tensors{y, index};
      },
      0);
}

TEST_F(PoolDevice, SecondOrderOfMaxPool) {
  expect_as_on_cpu(
      {random_tensor("second", {2, 7, 7, 16}), random_tensor("g", {2, 3, 3, 16})},
      [](const Tensors& in) {
        const Tensor y = max_pool2d(in[0], {.kernel = 3, .stride = 2});
        return grad({y}, {in[0]}, {in[1]}, {.create_graph = true});
      },
      0);
}

TEST_F(PoolDevice, ExtentsBeyond32Bits) {
  const int64_t far = int64_t{1} << 30;
  const MaxPool2dOptions dilated{.kernel = 3, .stride = 1, .padding = far, .dilation = far};
  expect_as_on_cpu(
      {random_tensor("far", {2, 4, 3, 8})},
      [=](const Tensors& in) { return Tensors{max_pool2d(in[0], dilated)}; }, 0);
  const AvgPool2dOptions strided{.kernel = 2, .stride = far};
  expect_as_on_cpu(
      {random_tensor("far", {2, 4, 3, 8})},
      [=](const Tensors& in) { return Tensors{avg_pool2d(in[0], strided)}; }, 0);
}

TEST_F(PoolDevice, AveragesOfEveryType) {
  for (DType dtype : kFloating)
    for (int64_t channels : {1, 4, 6, 8, 24}) {
      const auto what = cat(dtype, " ", channels);
      expect_as_on_cpu(
          {random_tensor("avg", {2, 9, 11, channels}, dtype)},
          [](const Tensors& in) {
            return Tensors{avg_pool2d(in[0], {.kernel = 3, .stride = 2, .padding = 1})};
          },
          rounding(dtype), what);
      expect_as_on_cpu(
          {random_tensor("bins", {2, 9, 11, channels}, dtype)},
          [](const Tensors& in) {
            return Tensors{adaptive_avg_pool2d(in[0], {4, 5})};
          },
          rounding(dtype), what);
    }
}

// Large windows, whose pixels the threads of a block share, or (few channels) several blocks.
TEST_F(PoolDevice, LargeWindows) {
  struct Row {
    Shape x;
    Size2 out;
  };
  for (DType dtype : kFloating)
    for (const Row& row :
         {Row{{2, 8, 8, 40}, 1}, Row{{1, 41, 67, 8}, 1}, Row{{2, 30, 50, 3}, {2, 3}},
          Row{{1, 24, 26, 264}, 1}, Row{{1, 64, 64, 1}, 1}})
      expect_as_on_cpu(
          {random_tensor("large", row.x, dtype)},
          [&](const Tensors& in) { return Tensors{adaptive_avg_pool2d(in[0], row.out)}; },
          rounding(dtype), cat(dtype, " ", row.x));
  expect_as_on_cpu(
      {random_tensor("padded", {1, 20, 20, 8})},
      [](const Tensors& in) {
        return Tensors{avg_pool2d(
            in[0], {.kernel = 12, .stride = 5, .padding = 6, .count_include_pad = false})};
      },
      rounding(DType::f32));
}

}  // namespace
}  // namespace tessera::testing

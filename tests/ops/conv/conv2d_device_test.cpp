// The CUDA kernels of convolution beyond what the operators' cases reach: large tiles, split sums,
// many blocks, half types, the epilogue and tensors that are not aligned.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "autograd/node.h"
#include "ops/conv/conv2d.h"
#include "ops/pointwise/arithmetic.h"
#include "tensor/cuda_plugin.h"
#include "tests/ops/conv/conv_reference.h"
#include "tests/ops/op_case.h"

namespace tessera::testing {
namespace {

constexpr Device kGpu{DeviceType::cuda, 0};

struct Geometry {
  Shape x, w;
  Conv2dOptions options;
};

std::vector<Geometry> geometries() {
  return {
      // Tiles of side 128 in the forward pass; channels of one and several quads.
      {{1, 130, 131, 8}, {128, 1, 1, 8}, {}},
      // Long sums over few results: split, in all three passes.
      {{2, 9, 8, 96}, {64, 3, 3, 96}, {.padding = 1}},
      {{3, 40, 40, 8}, {8, 3, 3, 8}, {.padding = 1}},
      // Channels that are no multiple of four.
      {{2, 15, 17, 3}, {16, 7, 7, 3}, {.stride = 2, .padding = 3}},
      {{2, 9, 11, 19}, {37, 3, 3, 19}, {.padding = 1}},
      {{1, 9, 9, 15}, {10, 3, 3, 3}, {.padding = 2, .dilation = 2, .groups = 5}},
      // Groups and steps, also with phases that no tap reaches.
      {{1, 12, 9, 16}, {16, 3, 3, 4}, {.stride = {2, 1}, .padding = {1, 0}, .groups = 4}},
      {{1, 9, 9, 64}, {64, 3, 3, 2}, {.stride = 2, .padding = 1, .groups = 32}},
      {{2, 14, 13, 8}, {12, 3, 3, 8}, {.stride = 2, .padding = 2, .dilation = 2}},
      {{1, 17, 16, 4}, {8, 2, 4, 4}, {.stride = {3, 6}, .padding = 1, .dilation = {2, 4}}},
      {{1, 16, 16, 4}, {8, 1, 1, 4}, {.stride = 4}},
      {{1, 16, 12, 3}, {8, 4, 4, 3}, {.stride = 4}},
      // Depthwise: quads and single channels, several blocks of channels and of taps, long
      // stretches
      // of pixels, several filters per channel.
      {{2, 19, 23, 64}, {64, 3, 3, 1}, {.padding = 1, .groups = 64}},
      {{1, 9, 10, 256}, {256, 3, 3, 1}, {.stride = 2, .padding = 1, .groups = 256}},
      {{1, 11, 9, 133}, {133, 5, 5, 1}, {.padding = 2, .groups = 133}},
      {{3, 50, 50, 4}, {4, 3, 3, 1}, {.padding = 1, .groups = 4}},
      {{1, 12, 9, 20}, {20, 7, 3, 1}, {.stride = {3, 2}, .padding = 3, .groups = 20}},
      {{1, 10, 9, 20},
       {20, 2, 3, 1},
       {.stride = 4, .padding = {0, 1}, .dilation = 2, .groups = 20}},
      {{1, 9, 14, 24}, {72, 3, 3, 1}, {.stride = {1, 2}, .padding = 1, .groups = 24}},
  };
}

Tensor filled(const std::string& name, const Shape& shape, DType dtype, double largest = 1) {
  return view::to(from_vector(hash_uniform(name, numel(shape), -largest, largest), shape), dtype);
}

// On the GPU, one element behind where an allocation begins if `shifted`.
Tensor on_gpu(const Tensor& t, bool shifted) {
  if (!shifted) return view::to(t, kGpu);
  const Tensor block = full({t.numel() + 1}, NAN, t.dtype(), kGpu);
  Tensor there = view::reshape(view::slice(block, 0, 1, t.numel() + 1), t.shape());
  copy_(there, t);
  return there;
}

double tolerance(DType dtype) {
  return dtype == DType::f64    ? 1e-13
         : dtype == DType::f16  ? 1e-3
         : dtype == DType::bf16 ? 8e-3
                                : 5e-6;
}

void expect_close(const Tensor& there, const Tensor& want, const char* what) {
  ASSERT_EQ(there.device(), kGpu) << what;
  const std::vector<double> a = there.to_vector<double>(), b = want.to_vector<double>();
  double scale = 0;
  for (double v : b) scale = std::max(scale, std::abs(v));
  for (size_t i = 0; i < b.size(); ++i)
    ASSERT_NEAR(a[i], b[i], tolerance(there.dtype()) * scale) << what << ", element " << i;
}

class Conv2dDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  }
};

void compare(const Geometry& c, DType dtype, bool shifted) {
  SCOPED_TRACE(
      cat(c.x, " * ", c.w, " stride ", c.options.stride, " ", dtype, shifted ? " shifted" : ""));
  const Shape ys = conv_output_shape(c.x, c.w, c.options);
  const auto wide = [](const Tensor& t) { return view::to(t, DType::f64); };
  const auto there = [&](const Tensor& t) { return on_gpu(t, shifted); };
  const Tensor x = filled("x", c.x, dtype), w = filled("w", c.w, dtype), g = filled("g", ys, dtype);
  const Tensor bias = filled("bias", {c.w[0]}, dtype), residual = filled("residual", ys, dtype);

  const Tensor sum = conv2d(wide(x), wide(w), wide(bias), c.options) + wide(residual);
  expect_close(
      conv2d_fused(there(x), there(w), {there(bias), there(residual), Activation::relu}, c.options),
      activate(sum, Activation::relu), "forward");
  expect_close(conv2d(there(x), there(w), {}, c.options), conv2d(wide(x), wide(w), {}, c.options),
               "forward without epilogue");
  expect_close(conv2d_input_grad(there(g), there(w), c.x, c.options),
               conv2d_input_grad(wide(g), wide(w), c.x, c.options), "input gradient");
  expect_close(conv2d_weight_grad(there(g), there(x), c.w, c.options),
               conv2d_weight_grad(wide(g), wide(x), c.w, c.options), "weight gradient");
}

TEST_F(Conv2dDevice, EqualsTheCpuInEveryType) {
  NoGradGuard off;
  for (const Geometry& c : geometries())
    for (const DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16})
      compare(c, dtype, false);
}

// Both gradients with tiles of side 128, and the forward pass once more.
TEST_F(Conv2dDevice, LargeTiles) {
  NoGradGuard off;
  compare({{1, 131, 130, 128}, {8, 1, 1, 128}, {}}, DType::f32, false);
  compare({{1, 67, 66, 128}, {4, 3, 3, 128}, {.stride = 2, .padding = 1}}, DType::f32, false);
  compare({{1, 3, 5, 1536}, {1408, 1, 1, 1536}, {}}, DType::f32, false);
}

TEST_F(Conv2dDevice, NeedsNoAlignment) {
  NoGradGuard off;
  for (const Geometry& c : geometries())
    if (numel(c.x) < 20000)
      for (const DType dtype : {DType::f32, DType::bf16}) compare(c, dtype, true);
}

TEST_F(Conv2dDevice, RepeatsBitForBit) {
  for (const Geometry& c : geometries()) {
    SCOPED_TRACE(cat(c.x, " * ", c.w));
    const Shape ys = conv_output_shape(c.x, c.w, c.options);
    const Tensor x = on_gpu(filled("x", c.x, DType::f32), false);
    const Tensor g = on_gpu(filled("g", ys, DType::f32), false);
    const auto bits = [&] {
      const Tensor gw = view::to(conv2d_weight_grad(g, x, c.w, c.options), kCpu);
      return gw.to_vector<float>();
    };
    EXPECT_EQ(bits(), bits());
  }
}

TEST_F(Conv2dDevice, ClampsAfterBiasAndResidualAndKeepsNan) {
  NoGradGuard off;
  for (const int64_t groups : {1, 4}) {
    const Tensor x = on_gpu(full({1, 2, 2, 4}, 1), false);
    const Tensor w = on_gpu(full({4, 1, 1, 4 / groups}, 1), false);
    const Tensor bias = from_vector(std::vector<float>{-20, 1, 20, 0}, {4}, kGpu);
    std::vector<float> more(16, 0);
    more[3] = NAN;
    const Tensor residual = from_vector(more, {1, 2, 2, 4}, kGpu);
    const std::vector<float> y =
        conv2d_fused(x, w, {bias, residual, Activation::relu6}, {.groups = groups})
            .to_vector<float>();
    const float product = groups == 1 ? 4 : 1;
    EXPECT_EQ(y[0], 0);
    EXPECT_EQ(y[1], product + 1);
    EXPECT_EQ(y[2], 6);
    EXPECT_TRUE(std::isnan(y[3]));
    EXPECT_EQ(y[7], product);
  }
}

}  // namespace
}  // namespace tessera::testing

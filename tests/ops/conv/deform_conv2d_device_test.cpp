// The CUDA kernels of deformable sampling beyond what the operators' cases reach: packs of channels
// that groups and deform groups cut in different ways, many samples of one pixel, positions that
// are no numbers.

#include <gtest/gtest.h>

#include <cmath>

#include "ops/conv/deform_conv2d.h"
#include "tensor/cuda_plugin.h"
#include "tests/ops/op_case.h"

namespace tessera::testing {
namespace {

constexpr Device kGpu{DeviceType::cuda, 0};

struct Case {
  Shape x;
  Size2 kernel;
  DeformConv2dOptions options;
  bool mask;
};

struct Inputs {
  Tensor x, offset, mask, g;
};

Inputs make_inputs_of(const Case& c, double reach) {
  const DeformConv2dOptions& o = c.options;
  const int64_t ho =
      (c.x[1] + 2 * o.padding.h - o.dilation.h * (c.kernel.h - 1) - 1) / o.stride.h + 1;
  const int64_t wo =
      (c.x[2] + 2 * o.padding.w - o.dilation.w * (c.kernel.w - 1) - 1) / o.stride.w + 1;
  const int64_t taps = c.kernel.h * c.kernel.w;
  const auto make = [](const char* name, const Shape& s, double lo, double hi) {
    return view::to(from_vector(hash_uniform(name, numel(s), lo, hi), s), DType::f64);
  };
  return {make("x", c.x, -1, 1),
          make("offset", {c.x[0], ho, wo, 2 * o.deform_groups * taps}, -reach, reach),
          c.mask ? make("mask", {c.x[0], ho, wo, o.deform_groups * taps}, 0, 1) : Tensor(),
          make("g", {c.x[0], ho, wo, taps * c.x[3]}, -1, 1)};
}

// Columns and their gradients by the kernels of `device`, in `dtype`.
Tensors run(const Case& c, const Inputs& in, Device device, DType dtype) {
  const auto there = [&](const Tensor& t) {
    return t.defined() ? view::to(view::to(t, dtype), device) : t;
  };
  const Tensor x = there(in.x), offset = there(in.offset), mask = there(in.mask), g = there(in.g);
  const auto like = [](const Tensor& t) { return t.defined() ? full_like(t, NAN) : t; };
  Tensor columns = like(g), gx = like(x), goffset = like(offset), gmask = like(mask);
  kernel::deform_columns(device, x, offset, mask, c.kernel, c.options, columns);
  kernel::deform_columns_grad(device, g, x, offset, mask, c.kernel, c.options, gx, goffset, gmask);
  Tensors out{columns, gx, goffset};
  if (gmask.defined()) out.push_back(gmask);
  return out;
}

void expect_close(const Tensors& got, const Tensors& want, double relative) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t t = 0; t < want.size(); ++t) {
    const std::vector<double> a = got[t].to_vector<double>(), b = want[t].to_vector<double>();
    double scale = 0;
    for (double v : b) scale = std::max(scale, std::abs(v));
    for (size_t i = 0; i < b.size(); ++i)
      ASSERT_NEAR(a[i], b[i], relative * scale) << "result " << t << ", element " << i;
  }
}

class DeformDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  }
};

std::vector<Case> cases() {
  return {
      {{2, 9, 11, 64}, 3, {.padding = 1}, true},
      {{1, 8, 7, 32}, 3, {.stride = 2, .padding = 1, .groups = 2, .deform_groups = 4}, true},
      {{2, 7, 9, 24}, {2, 3}, {.groups = 3, .deform_groups = 2}, false},
      {{1, 7, 6, 12}, 3, {.padding = 2, .dilation = 2, .groups = 6, .deform_groups = 3}, true},
      {{1, 6, 5, 5}, {3, 1}, {.padding = 1}, true},
      {{2, 5, 6, 160}, 1, {.deform_groups = 1}, false},
  };
}

TEST_F(DeformDevice, EqualsTheCpu) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(cat(c.x, " groups ", c.options.groups, " sets ", c.options.deform_groups));
    const Inputs in = make_inputs_of(c, 2.5);
    const Tensors want = run(c, in, kCpu, DType::f64);
    expect_close(run(c, in, kGpu, DType::f64), want, 1e-13);
    // Offsets as f32 has them, so that both sides sample at the same places.
    Inputs narrow = in;
    narrow.offset = view::to(view::to(in.offset, DType::f32), DType::f64);
    expect_close(run(c, narrow, kGpu, DType::f32), run(c, narrow, kCpu, DType::f64), 1e-5);
  }
}

// Every sample reads near one pixel: its gradient is one long sum, and repeats bit for bit.
TEST_F(DeformDevice, ManySamplesOfOnePixel) {
  for (const int64_t channels : {3, 64}) {
    const Case c{{1, 24, 23, channels}, 3, {.padding = 1}, true};
    Inputs in = make_inputs_of(c, 0);
    std::vector<double> offset = in.offset.to_vector<double>();
    const int64_t wo = in.offset.size(2), taps = 9;
    for (size_t i = 0; i < offset.size(); i += 2) {
      const auto at = static_cast<int64_t>(i / 2);
      const int64_t p = at / taps, k = at % taps;
      offset[i] = 11.25 - static_cast<double>(p / wo - 1 + k / 3);
      offset[i + 1] = 9.5 - static_cast<double>(p % wo - 1 + k % 3);
    }
    in.offset = from_vector(offset, in.offset.shape());
    const Tensors got = run(c, in, kGpu, DType::f32), again = run(c, in, kGpu, DType::f32);
    expect_close(got, run(c, in, kCpu, DType::f64), 2e-5);
    EXPECT_EQ(got[1].to_vector<float>(), again[1].to_vector<float>());
  }
}

TEST_F(DeformDevice, PositionsThatAreNoNumbersSampleNothing) {
  const Case c{{1, 4, 4, 8}, 1, {}, true};
  Inputs in = make_inputs_of(c, 0.4);
  std::vector<double> offset = in.offset.to_vector<double>();
  for (size_t i = 0; i < offset.size(); i += 3) offset[i] = i % 2 ? NAN : INFINITY;
  in.offset = from_vector(offset, in.offset.shape());
  const Tensors want = run(c, in, kCpu, DType::f64), got = run(c, in, kGpu, DType::f64);
  EXPECT_EQ(got[0].to_vector<double>(), want[0].to_vector<double>());
  expect_close(got, want, 1e-13);
}

}  // namespace
}  // namespace tessera::testing

// Resizing and sampling on the GPU where the shared cases do not reach.

#include "ops/image/grid_sample.h"
#include "ops/image/resize.h"
#include "tests/ops/spatial_device.h"

namespace tessera::testing {
namespace {

using ImageDevice = DeviceTest;

constexpr DType kWide[] = {DType::f32, DType::f64};

TEST_F(ImageDevice, ResizeVectorsAndRests) {
  for (DType dtype : kWide)
    for (int64_t channels : {1, 3, 4, 20})
      for (ResizeMode mode : {ResizeMode::nearest, ResizeMode::bilinear, ResizeMode::bicubic})
        for (const Shape& size : {Shape{23, 31}, Shape{5, 40}, Shape{3, 3}})
          expect_as_on_cpu(
              {random_tensor("resize", {2, 9, 11, channels}, dtype)},
              [&](const Tensors& in) { return Tensors{resize(in[0], size, {mode})}; },
              rounding(dtype), cat(dtype, " ", channels, " ", size));
}

void compare_sampling(const Tensor& x, const Tensor& grid, const GridSampleOptions& o,
                      const std::string& what) {
  expect_as_on_cpu(
      {x, grid}, [&](const Tensors& in) { return Tensors{grid_sample(in[0], in[1], o)}; },
      4 * rounding(x.dtype()), what);
}

TEST_F(ImageDevice, SampleVectorsAndRests) {
  for (DType dtype : kWide)
    for (int64_t channels : {1, 3, 4, 5, 24, 136})
      for (GridPadding padding : {GridPadding::zeros, GridPadding::reflection})
        compare_sampling(random_tensor("x", {2, 7, 5, channels}, dtype),
                         random_tensor("grid", {2, 6, 9, 2}, dtype, -1.3, 1.3),
                         {.padding = padding}, cat(dtype, " ", channels));
}

// Many locations on few pixels: their sums run over several chunks of the sorted corners.
TEST_F(ImageDevice, ManyLocationsOnOnePixel) {
  for (int64_t channels : {1, 3, 8}) {
    compare_sampling(random_tensor("x", {2, 5, 5, channels}),
                     random_tensor("near", {2, 20, 31, 2}, DType::f32, 0.02, 0.05), {},
                     cat("near ", channels));
    compare_sampling(random_tensor("x", {1, 5, 5, channels}),
                     random_tensor("outside", {1, 40, 31, 2}, DType::f32, 1.5, 4),
                     {.padding = GridPadding::border}, cat("border ", channels));
  }
}

TEST_F(ImageDevice, NanAndInfinityStayInBounds) {
  const float inf = INFINITY;
  const Tensor grid =
      from_vector<float>({NAN, 0, inf, 0, -inf, 0, 1e30f, -1e30f, 0, NAN, 0.5f, 1}, {1, 2, 3, 2});
  for (GridPadding padding : {GridPadding::zeros, GridPadding::border, GridPadding::reflection})
    for (GridMode mode : {GridMode::bilinear, GridMode::nearest})
      compare_sampling(random_tensor("x", {1, 3, 3, 4}), grid, {mode, padding}, "nan");
}

TEST_F(ImageDevice, TheSameBitsTwice) {
  const Tensor x = random_tensor("x", {1, 4, 4, 8}), grid = random_tensor("grid", {1, 25, 25, 2});
  const Function sample = [](const Tensors& in) { return Tensors{grid_sample(in[0], in[1])}; };
  const Tensors once = results_on(kGpu, {x, grid}, sample, false);
  const Tensors again = results_on(kGpu, {x, grid}, sample, false);
  for (size_t i = 0; i < once.size(); ++i)
    EXPECT_EQ(once[i].to_vector<float>(), again[i].to_vector<float>()) << i;
}

}  // namespace
}  // namespace tessera::testing

#include "ops/image/upfirdn2d.h"

#include <gtest/gtest.h>

#include "ops/pointwise/arithmetic.h"
#include "tensor/view.h"
#include "tests/ops/op_case.h"

namespace tessera {
namespace {

using testing::hash_uniform;

Tensor numbers(const std::vector<float>& v, const Shape& shape) { return from_vector(v, shape); }
std::vector<double> scaled(const Tensor& t, double s) { return (t * s).to_vector<double>(); }

// Results of the original, from its specification.
TEST(Upfirdn2d, StoredResults) {
  const Tensor f = setup_filter(from_vector(std::vector<float>{1, 3, 3, 1}));
  EXPECT_EQ(scaled(upsample2d(numbers({1, 2, 3, 4}, {1, 2, 2, 1}), f), 16),
            (std::vector<double>{9, 15, 21, 18, 18, 28, 36, 30, 30, 44, 52, 42, 27, 39, 45, 36}));
  std::vector<float> ramp(16);
  for (size_t i = 0; i < 16; ++i) ramp[i] = static_cast<float>(i);
  EXPECT_EQ(scaled(downsample2d(numbers(ramp, {1, 4, 4, 1}), f), 64),
            (std::vector<double>{175, 252, 483, 560}));
  const Tensor impulse = numbers({0, 0, 1, 0, 0}, {1, 1, 5, 1}), one = numbers({1, 2, 3}, {1, 3});
  EXPECT_EQ(filter2d(impulse, one).to_vector<double>(), (std::vector<double>{0, 1, 2, 3, 0}));
  EXPECT_EQ(filter2d(impulse, one, {.flip_filter = true}).to_vector<double>(),
            (std::vector<double>{0, 3, 2, 1, 0}));
}

TEST(Upfirdn2d, SetupFilter) {
  const Tensor f = from_vector(std::vector<float>{1, 2, 5});
  EXPECT_EQ(scaled(setup_filter(f), 64), (std::vector<double>{1, 2, 5, 2, 4, 10, 5, 10, 25}));
  EXPECT_EQ(setup_filter(f).dtype(), DType::f32);
  EXPECT_EQ(scaled(setup_filter(f, {.flip = true, .gain = 4, .separable = true}), 4),
            (std::vector<double>{5, 2, 1}));  // sqrt(gain) along one axis
  EXPECT_EQ(
      setup_filter(f, {.normalize = false, .gain = 2, .separable = false}).to_vector<double>(),
      (std::vector<double>{2, 4, 10, 4, 8, 20, 10, 20, 50}));
  EXPECT_EQ(setup_filter(ones({8})).shape(), Shape{8});
  EXPECT_EQ(setup_filter(ones({7})).shape(), (Shape{7, 7}));
  EXPECT_EQ(setup_filter(full({}, 3)).to_vector<double>(), (std::vector<double>{1}));
}

// Sizes are exact multiples for any filter and factor, and a constant image keeps its brightness
// where the filter does not reach over the edge.
TEST(Upfirdn2d, SizesAndBrightness) {
  for (int64_t n : {1, 2, 3, 4, 5, 8})
    for (int64_t factor : {1, 2, 3, 4}) {
      const Tensor f = setup_filter(ones({n}));
      const Tensor x = ones({1, 24, 12, 2});
      EXPECT_EQ(upsample2d(x, f, factor).shape(), (Shape{1, 24 * factor, 12 * factor, 2}))
          << n << ' ' << factor;
      EXPECT_EQ(downsample2d(x, f, factor).shape(), (Shape{1, 24 / factor, 12 / factor, 2}))
          << n << ' ' << factor;
      EXPECT_EQ(filter2d(x, f).shape(), x.shape());
      if (n % factor != 0) continue;  // otherwise phases have different weights
      const Tensor up = upsample2d(x, f, {factor, 1});
      EXPECT_NEAR(view::slice(view::slice(up, 1, 12 * factor, 12 * factor + 1), 2, 6, 7)
                      .to_vector<double>()[0],
                  1, 1e-6);
    }
}

TEST(Upfirdn2d, HalfTypesAreComputedInFloat) {
  const Tensor x = from_vector(hash_uniform("upfirdn2d/half", 2 * 6 * 5 * 8, -1, 1), {2, 6, 5, 8});
  const Tensor f = setup_filter(from_vector(std::vector<float>{1, 3, 3, 1}));
  for (DType half : {DType::f16, DType::bf16}) {
    const Tensor xh = view::to(x, half);
    EXPECT_EQ(upsample2d(xh, f).to_vector<float>(),
              view::to(upsample2d(view::to(xh, DType::f32), f), half).to_vector<float>());
  }
}

}  // namespace
}  // namespace tessera

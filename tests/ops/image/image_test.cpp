// Properties of resizing and sampling that single cases do not show.

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/engine.h"
#include "ops/image/grid_sample.h"
#include "ops/image/pad.h"
#include "ops/image/resize.h"
#include "ops/pointwise/arithmetic.h"
#include "tensor/parallel.h"
#include "tensor/view.h"
#include "tests/ops/op_case.h"

namespace tessera {
namespace {

using testing::hash_uniform;

Tensor image(const std::string& name, const Shape& shape) {
  return view::to(from_vector(hash_uniform(name, numel(shape)), shape), DType::f64);
}

TEST(Resize, NearestMovesEveryDType) {
  for (DType dtype : {DType::u8, DType::i64, DType::f16, DType::boolean, DType::f32}) {
    const Tensor x = view::to(from_vector<float>({0, 1, 1, 1}, {1, 2, 2, 1}), dtype);
    const Tensor y = resize(x, {2, 4}, {ResizeMode::nearest});
    EXPECT_EQ(y.dtype(), dtype);
    EXPECT_EQ(y.to_vector<int64_t>(), (std::vector<int64_t>{0, 0, 1, 1, 1, 1, 1, 1}));
  }
}

TEST(Resize, NearestIsExactForWholeFactors) {
  for (int64_t in = 1; in <= 40; ++in)
    for (int64_t factor = 1; factor <= 9; ++factor) {
      const AxisMap up = resize_map(in, in * factor, {ResizeMode::nearest});
      for (int64_t o = 0; o < in * factor; ++o)
        ASSERT_EQ(up.index[static_cast<size_t>(o)], o / factor) << in << " x " << factor;
    }
}

// As torch, a size that stays or doubles does not use the given scale.
TEST(Resize, ScaleThatDoublesOrKeeps) {
  EXPECT_EQ(resize_map(3, 6, {ResizeMode::nearest}, 2.3).index,
            (std::vector<int64_t>{0, 0, 1, 1, 2, 2}));
  EXPECT_EQ(resize_map(3, 3, {ResizeMode::nearest}, 1.1).index, (std::vector<int64_t>{0, 1, 2}));
  const AxisMap same = resize_map(3, 3, {ResizeMode::bilinear}, 1.1);
  EXPECT_EQ(same.index, (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(same.weight, (std::vector<double>{1, 1, 1}));
  EXPECT_EQ(resize_map(5, 6, {ResizeMode::nearest}, 1.3).index,
            (std::vector<int64_t>{0, 0, 1, 2, 3, 3}));
}

TEST(Resize, ConstantsStayConstant) {
  for (ResizeMode mode : {ResizeMode::nearest, ResizeMode::bilinear, ResizeMode::bicubic})
    for (const double v :
         resize(ones({1, 7, 5, 2}, DType::f64), {11, 3}, {mode}).to_vector<double>())
      EXPECT_NEAR(v, 1, 1e-14);
}

// A linear ramp is reproduced by bilinear interpolation away from the border.
TEST(Resize, BilinearReproducesRamps) {
  const Tensor x = view::reshape(view::to(arange(8), DType::f64), {1, 8, 1, 1});
  const std::vector<double> y = resize(x, {16, 1}).to_vector<double>();
  for (size_t i = 1; i < 15; ++i) EXPECT_NEAR(y[i], (double(i) + 0.5) / 2 - 0.5, 1e-14);
}

// f32 images of few channels take steps of whole vectors, f64 a loop over pixels.
TEST(Resize, FewChannelsMatchDouble) {
  struct Widths {
    int64_t in, out;
  };
  for (const int64_t channels : {1, 2, 3, 4, 7, 15, 16})
    for (const Widths& w : {Widths{5, 9}, {40, 23}, {70, 8}, {3, 64}, {33, 33}, {1, 20}})
      for (const ResizeMode mode :
           {ResizeMode::nearest, ResizeMode::bilinear, ResizeMode::bicubic}) {
        SCOPED_TRACE(cat(channels, " channels, ", w.in, " to ", w.out));
        const Tensor x = image("narrow", {2, 6, w.in, channels});
        const std::vector<double> want = resize(x, {150, w.out}, {mode}).to_vector<double>();
        std::vector<double> got;
        for (const int threads : {1, 5}) {
          set_num_threads(threads);
          const std::vector<double> again =
              resize(view::to(x, DType::f32), {150, w.out}, {mode}).to_vector<double>();
          if (threads == 1) got = again;
          EXPECT_EQ(got, again);
        }
        set_num_threads(0);
        for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-6);
      }
}

// A pixel without a tap is not read: an infinity beside the sample stays where it is.
TEST(Resize, FewChannelsKeepInfinityApart) {
  Tensor x = zeros({1, 1, 3, 3});
  x.data<float>()[3] = INFINITY;
  const std::vector<double> y =
      resize(x, {8, 5}, {.align_corners = true}).to_vector<double>();  // samples at 0, 0.5, 1, ...
  for (size_t i = 0; i < y.size(); ++i) {
    const size_t pixel = i / 3 % 5, channel = i % 3;
    EXPECT_EQ(y[i], channel == 0 && pixel >= 1 && pixel <= 3 ? INFINITY : 0) << i;
  }
}

TEST(Resize, TransposingAMapTwiceGivesIt) {
  const AxisMap map = resize_map(7, 12, {ResizeMode::bicubic});
  const AxisMap adjoint = map.transposed();
  ASSERT_EQ(adjoint.out, 7);
  ASSERT_EQ(adjoint.in, 12);
  const AxisMap again = adjoint.transposed();
  EXPECT_EQ(again.begin, map.begin);
  double sum = 0, sum_adjoint = 0;
  for (double w : map.weight) sum += w;
  for (double w : adjoint.weight) sum_adjoint += w;
  EXPECT_NEAR(sum, sum_adjoint, 1e-12);
}

TEST(GridSample, IdentityGridGivesTheImage) {
  const Tensor x = image("identity", {2, 5, 6, 3});
  const Tensor eye = from_vector<double>({1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0}, {2, 2, 3});
  for (bool align : {false, true}) {
    const Tensor y = grid_sample(x, affine_grid(eye, 5, 6, align), {.align_corners = align});
    const std::vector<double> got = y.to_vector<double>(), want = x.to_vector<double>();
    for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-12);
  }
}

TEST(GridSample, NanAndInfinityStayInBounds) {
  const double inf = INFINITY;
  for (const DType dtype : {DType::f64, DType::f32}) {
    const Tensor x = ones({1, 3, 3, 1}, dtype);
    const Tensor grid =
        view::to(from_vector<double>({NAN, 0, inf, 0, -inf, 0, 1e30, -1e30}, {1, 1, 4, 2}), dtype);
    for (GridPadding padding : {GridPadding::zeros, GridPadding::border, GridPadding::reflection}) {
      Tensor at = view::clone(grid);
      at.set_requires_grad(true);
      const Tensor y = grid_sample(x, at, {.padding = padding});
      const std::vector<double> v = y.to_vector<double>();
      EXPECT_EQ(v[0], 0);
      for (double e : v) EXPECT_TRUE(e == 0 || e == 1) << e;
      const Tensor g = grad({y}, {at}, {ones_like(y)})[0];
      EXPECT_EQ(g.shape(), grid.shape());
    }
    EXPECT_EQ(grid_sample(x, grid, {.padding = GridPadding::border}).to_vector<double>()[1], 1);
  }
}

// f32 computes many locations together and, for few channels, whole vectors of a pixel.
TEST(GridSample, ManyLocationsMatchDouble) {
  for (const int64_t channels : {1, 2, 3, 4, 5, 8, 9, 37})
    for (const GridPadding padding :
         {GridPadding::zeros, GridPadding::border, GridPadding::reflection})
      for (const bool align : {false, true}) {
        SCOPED_TRACE(cat(channels, " channels, padding ", static_cast<int>(padding), align));
        const GridSampleOptions options{.padding = padding, .align_corners = align};
        const auto run = [&](DType dtype) {
          Tensor x = view::to(image("x", {2, 20, 17, channels}), dtype);
          Tensor grid = view::to(image("grid", {2, 40, 41, 2}) * 1.1, dtype);
          x.set_requires_grad(true);
          grid.set_requires_grad(true);
          const Tensor y = grid_sample(x, grid, options);
          const Tensor g = view::to(image("g", y.shape()), dtype);
          Tensors out = grad({y}, {x, grid}, {g});
          out.push_back(y);
          return out;
        };
        const Tensors want = run(DType::f64);
        set_num_threads(1);
        const Tensors got = run(DType::f32);
        set_num_threads(5);
        const Tensors again = run(DType::f32);
        set_num_threads(0);
        for (size_t t = 0; t < want.size(); ++t) {
          // A coordinate of 20 pixels is rounded to 2e-6, which the grid's slope multiplies by 10.
          const double bound = t == 1 ? 4e-5 * static_cast<double>(channels) : 2e-5;
          const std::vector<double> a = got[t].to_vector<double>(), b = want[t].to_vector<double>();
          EXPECT_EQ(a, again[t].to_vector<double>());
          for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], bound) << t;
        }
      }
}

TEST(Pad, KeepsDTypeAndFillsValue) {
  const Tensor x = full({1, 1, 1, 1}, 3, DType::u8);
  const Tensor y = pad(x, {.left = 1}, PadMode::constant, 7);
  EXPECT_EQ(y.dtype(), DType::u8);
  EXPECT_EQ(y.to_vector<int64_t>(), (std::vector<int64_t>{7, 3}));
}

}  // namespace
}  // namespace tessera

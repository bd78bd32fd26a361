// conv2d_fused against conv2d followed by the separate operators, for every kernel it can reach.

#include <gtest/gtest.h>

#include <algorithm>

#include "autograd/node.h"
#include "ops/conv/conv2d.h"
#include "ops/pointwise/arithmetic.h"
#include "tests/ops/op_case.h"

namespace tessera {
namespace {

using testing::hash_uniform;

Tensor filled(const std::string& name, const Shape& shape, DType dtype, double largest = 1) {
  return view::to(from_vector(hash_uniform(name, numel(shape), -largest, largest), shape), dtype);
}

struct Geometry {
  Shape x, w;
  Conv2dOptions options;
};

TEST(Conv2dFused, EqualsTheSeparateOperators) {
  const Geometry geometries[] = {
      {{2, 9, 7, 16}, {24, 3, 3, 16}, {.stride = 2, .padding = 1}},
      {{1, 8, 8, 64}, {32, 1, 1, 64}, {}},
      {{2, 6, 5, 8}, {8, 3, 3, 1}, {.padding = 1, .groups = 8}},  // depthwise
      {{1, 6, 7, 41}, {41, 3, 3, 1}, {.stride = 2, .padding = 1, .groups = 41}},
      {{1, 5, 6, 12}, {24, 3, 3, 1}, {.padding = 1, .groups = 12}},  // two filters per channel
      {{1, 5, 5, 3}, {5, 3, 3, 3}, {.padding = 1}},
      {{2, 7, 6, 12}, {18, 3, 3, 6}, {.padding = 1, .groups = 2}},
  };
  for (const Geometry& g : geometries)
    for (DType dtype : {DType::f32, DType::f64, DType::bf16})
      for (bool with_residual : {false, true})
        for (Activation activation : {Activation::none, Activation::relu, Activation::relu6}) {
          SCOPED_TRACE(cat(g.x, " * ", g.w, " ", dtype, with_residual ? " residual" : "",
                           ", activation ", static_cast<int>(activation)));
          const Tensor x = filled("x", g.x, dtype), w = filled("w", g.w, dtype);
          const Tensor b = filled("b", {g.w[0]}, dtype, 12);  // beyond the bounds of relu6
          Tensor want = conv2d(x, w, b, g.options);
          ConvEpilogue epilogue{.bias = b, .activation = activation};
          if (with_residual) {
            epilogue.residual = filled("r", want.shape(), dtype);
            want = want + epilogue.residual;
          }
          want = activate(want, activation);
          const std::vector<double> got =
              conv2d_fused(x, w, epilogue, g.options).to_vector<double>();
          const std::vector<double> expected = want.to_vector<double>();
          const double bound = dtype == DType::f64 ? 1e-12 : dtype == DType::f32 ? 2e-5 : 0.15;
          for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(got[i], expected[i], bound);
          const auto [low, high] = std::minmax_element(expected.begin(), expected.end());
          EXPECT_EQ(*low == 0, activation != Activation::none);
          EXPECT_EQ(*high == 6, activation == Activation::relu6);
        }
}

TEST(Conv2dFused, RefusesToDropAGradient) {
  const Tensor x = zeros({1, 4, 4, 2});
  Tensor w = zeros({3, 1, 1, 2});
  w.set_requires_grad(true);
  EXPECT_THROW(conv2d_fused(x, w, {}), Error);
  NoGradGuard off;
  EXPECT_NO_THROW(conv2d_fused(x, w, {}));
}

TEST(Conv2dFused, ChecksTheResidual) {
  try {
    conv2d_fused(zeros({1, 4, 4, 2}), zeros({3, 1, 1, 2}), {.residual = zeros({1, 4, 4, 2})});
    ADD_FAILURE() << "a residual of another shape was taken";
  } catch (const ShapeError& e) {
    EXPECT_NE(std::string(e.what()).find("[1, 4, 4, 3]"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace tessera

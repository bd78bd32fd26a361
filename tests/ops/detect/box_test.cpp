#include "ops/detect/box.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/engine.h"
#include "tensor/view.h"

namespace tessera {
namespace {

const std::vector<double> kA{0.1, 0.2, 1.3, 1.9}, kB{0.5, 0.4, 2.1, 1.2};

Tensor box(const std::vector<double>& v) { return from_vector(v, {1, 4}); }

/// The part of the complete IoU that its gradient differentiates: alpha held at its value for kA.
double with_fixed_alpha(const std::vector<double>& a) {
  const auto turn = [](const std::vector<double>& first) {
    return std::atan((first[2] - first[0]) / (first[3] - first[1])) -
           std::atan((kB[2] - kB[0]) / (kB[3] - kB[1]));
  };
  const double factor = 4 / (M_PI * M_PI);
  const double v0 = factor * turn(kA) * turn(kA), v = factor * turn(a) * turn(a);
  const double iou = box_iou(box(kA), box(kB)).item();
  return distance_box_iou(box(a), box(kB)).item() - v0 / (1 - iou + v0 + 1e-7) * v;
}

TEST(CompleteBoxIou, GradientHoldsAlphaFixed) {
  Tensor a = box(kA);
  a.set_requires_grad(true);
  const std::vector<double> g = grad({complete_box_iou(a, box(kB))}, {a})[0].to_vector<double>();
  const double step = 1e-6;
  for (size_t i = 0; i < 4; ++i) {
    std::vector<double> up = kA, down = kA;
    up[i] += step;
    down[i] -= step;
    EXPECT_NEAR(g[i], (with_fixed_alpha(up) - with_fixed_alpha(down)) / (2 * step), 1e-7) << i;
  }
}

TEST(BoxIou, KnownValues) {
  const Tensor a = box({0, 0, 2, 2});
  EXPECT_EQ(box_iou(a, a).item(), 1);
  EXPECT_EQ(box_iou(a, box({1, 0, 3, 2})).item(), 1.0 / 3);
  EXPECT_EQ(box_iou(a, box({2, 0, 4, 2})).item(), 0);  // touching
  EXPECT_EQ(generalized_box_iou(a, box({4, 0, 6, 2})).item(), -1.0 / 3);
  EXPECT_NEAR(distance_box_iou(a, box({4, 0, 6, 2})).item(), -0.4, 1e-8);
  EXPECT_TRUE(std::isnan(box_iou(box({1, 1, 1, 1}), box({1, 1, 1, 1})).item()));
}

TEST(ClipBoxes, ClampsEachAxis) {
  const Tensor clipped =
      clip_boxes(from_vector<float>({-1, -2, 50, 40, 3, 4, 5, 6}, {2, 4}), 30, 20);
  EXPECT_EQ(clipped.to_vector<float>(), (std::vector<float>{0, 0, 20, 30, 3, 4, 5, 6}));
}

}  // namespace
}  // namespace tessera

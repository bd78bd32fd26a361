// Non-maximum suppression and the published figures of RoI Align.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "ops/detect/nms.h"
#include "ops/detect/roi_align.h"
#include "ops/detect/roi_pool.h"
#include "tensor/view.h"
#include "tests/ops/op_case.h"

namespace tessera {
namespace {

using I64 = std::vector<int64_t>;
using testing::hash_uniform;

struct Scene {
  std::vector<float> boxes, scores;
  I64 classes;
  Tensor box_tensor() const { return from_vector(boxes, {static_cast<int64_t>(scores.size()), 4}); }
};

/// Overlapping boxes, some with negative coordinates, scores with ties.
Scene scene(const std::string& name, int64_t count, int64_t classes) {
  Scene s;
  const std::vector<float> u = hash_uniform(name, 5 * count, 0, 1);
  for (int64_t i = 0; i < count; ++i) {
    const float* v = u.data() + 5 * i;
    const float x = v[0] * 60 - 20, y = v[1] * 60 - 20;
    s.boxes.insert(s.boxes.end(), {x, y, x + 2 + v[2] * 30, y + 2 + v[3] * 30});
    s.scores.push_back(std::floor(v[4] * 50) / 50);
    s.classes.push_back(i % classes);
  }
  return s;
}

float iou(const float* a, const float* b) {
  const float w = std::max(0.0f, std::min(a[2], b[2]) - std::max(a[0], b[0]));
  const float h = std::max(0.0f, std::min(a[3], b[3]) - std::max(a[1], b[1]));
  const float area_a = (a[2] - a[0]) * (a[3] - a[1]), area_b = (b[2] - b[0]) * (b[3] - b[1]);
  return w * h / (area_a + area_b - w * h);
}

I64 greedy(const Scene& s, float threshold) {
  I64 order(s.scores.size()), kept;
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return s.scores[static_cast<size_t>(a)] > s.scores[static_cast<size_t>(b)];
  });
  for (int64_t i : order) {
    const auto at = static_cast<size_t>(i);
    const bool keep = std::none_of(kept.begin(), kept.end(), [&](int64_t k) {
      const auto other = static_cast<size_t>(k);
      return s.classes[at] == s.classes[other] &&
             iou(&s.boxes[4 * at], &s.boxes[4 * other]) > threshold;
    });
    if (keep) kept.push_back(i);
  }
  return kept;
}

TEST(Nms, PublishedExample) {
  const Tensor boxes =
      from_vector<float>({0, 0, 10, 10, 1, 0, 11, 10, 4, 0, 14, 10, 20, 0, 30, 10}, {4, 4});
  const Tensor scores = from_vector<float>({0.9f, 0.8f, 0.7f, 0.6f});
  EXPECT_EQ(nms(boxes, scores, 0.5).to_vector<int64_t>(), (I64{0, 2, 3}));
}

TEST(Nms, EqualsTheObviousLoop) {
  for (int64_t count : {0, 1, 2, 37, 300})
    for (float threshold : {0.0f, 0.25f, 0.5f, 0.75f}) {
      const Scene s = scene(cat("nms", count), count, 1);
      const Tensor kept = nms(s.box_tensor(), from_vector(s.scores), threshold);
      EXPECT_EQ(kept.to_vector<int64_t>(), greedy(s, threshold)) << count << " at " << threshold;
    }
}

TEST(Nms, ClassesDoNotSuppressEachOther) {
  for (int64_t classes : {1, 3, 80}) {
    const Scene s = scene("classes", 200, classes);
    const Tensor kept =
        batched_nms(s.box_tensor(), from_vector(s.scores), from_vector(s.classes), 0.25);
    EXPECT_EQ(kept.to_vector<int64_t>(), greedy(s, 0.25f)) << classes;
  }
}

TEST(Nms, ThresholdIsStrict) {
  // IoU of exactly one half; and 0.3, which rounds up in f32, compared in f64.
  const Tensor half = from_vector<float>({0, 0, 2, 1, 0, 0, 1, 1}, {2, 4});
  const Tensor scores = from_vector<float>({1, 0.5f});
  EXPECT_EQ(nms(half, scores, 0.5).numel(), 2);
  EXPECT_EQ(nms(half, scores, 0.4999).numel(), 1);
  const Tensor third = from_vector<float>({0, 0, 10, 1, 0, 0, 3, 1}, {2, 4});
  EXPECT_EQ(nms(third, scores, 0.3).numel(), 1);
}

TEST(Nms, DegenerateBoxesAreKept) {
  const Tensor boxes = from_vector<float>({1, 1, 1, 1, 1, 1, 1, 1, 5, 5, 4, 4}, {3, 4});
  EXPECT_EQ(nms(boxes, from_vector<float>({1, 2, 3}), 0.5).to_vector<int64_t>(), (I64{2, 1, 0}));
}

TEST(Nms, RejectsWrongArguments) {
  EXPECT_THROW(nms(zeros({3, 5}), zeros({3}), 0.5), ShapeError);
  EXPECT_THROW(nms(zeros({3, 4}), zeros({2}), 0.5), ShapeError);
  EXPECT_THROW(nms(zeros({3, 4}), zeros({3}, DType::f64), 0.5), DTypeError);
  EXPECT_THROW(batched_nms(zeros({3, 4}), zeros({3}), zeros({3}), 0.5), DTypeError);
  EXPECT_THROW(batched_nms(zeros({3, 4}), zeros({3}), zeros({2}, DType::i64), 0.5), ShapeError);
}

// f(y, x) = x^2 + 10 y on a 6 x 6 map; the values follow from the definition by hand.
TEST(RoiAlign, PublishedExample) {
  std::vector<double> map;
  for (int y = 0; y < 6; ++y)
    for (int x = 0; x < 6; ++x) map.push_back(x * x + 10 * y);
  const Tensor f = from_vector(map, {1, 6, 6, 1});
  const auto pool = [&](std::vector<double> box, int64_t ratio, bool aligned) {
    return roi_align(f, from_vector(box, {1, 5}),
                     {.output_h = 2,
                      .output_w = 2,
                      .spatial_scale = 0.25,
                      .sampling_ratio = ratio,
                      .aligned = aligned})
        .to_vector<double>();
  };
  const auto expect = [](const std::vector<double>& got, const std::vector<double>& want) {
    for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(got[i], want[i], 1e-6) << i;
  };
  expect(pool({0, 4, 4, 20, 12}, 2, false), {19.5, 31.5, 29.5, 41.5});
  expect(pool({0, 4, 4, 20, 12}, 2, true), {12.5, 22.5, 22.5, 32.5});
  expect(pool({0, 4, 4, 20, 12}, 0, true), {12.5, 22.5, 22.5, 32.5});
  expect(pool({0, -6, -6, 3, 3}, 2, false), {0, 0.1171875, 1.171875, 2.578125});
  expect(pool({0, 18, 18, 40, 40}, 2, true), {17.265625, 0, 0, 0});
}

TEST(RoiPool, EmptyBinsAndNan) {
  const Tensor outside = from_vector<float>({0, 50, 50, 60, 60}, {1, 5});
  const Tensor f = full({1, 4, 4, 2}, -3);
  for (float v : roi_pool(f, outside, 2, 2).to_vector<float>()) EXPECT_EQ(v, 0);
  const Tensor inside = from_vector<float>({0, 0, 0, 3, 3}, {1, 5});
  for (float v : roi_pool(f, inside, 2, 2).to_vector<float>()) EXPECT_EQ(v, -3);
  Tensor spoilt = view::clone(f);
  fill_(spoilt, -INFINITY);
  Tensor pixel = view::select(view::select(spoilt, 1, 0), 1, 0);
  fill_(pixel, NAN);
  for (float v : roi_pool(spoilt, outside, 2, 2).to_vector<float>()) EXPECT_EQ(v, 0);
  const std::vector<float> v = roi_pool(spoilt, inside, 2, 2).to_vector<float>();
  EXPECT_TRUE(std::isnan(v[0]));
  EXPECT_EQ(v[7], -INFINITY);
}

}  // namespace
}  // namespace tessera
